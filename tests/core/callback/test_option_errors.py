"""Wrong options are refused in words that name the fix."""

from typing import Any

import pytest

import trainbus.testing
from trainbus import SettingsError
from trainbus.plugins import EarlyStopping, Journal, ModelCheckpoint, ReduceLROnPlateau, TensorBoard


@pytest.mark.parametrize(
    ("make", "sentences"),
    [
        (
            lambda: ModelCheckpoint(filpath="x"),
            ["filpath: unknown option; did you mean 'filepath'?", "filepath is required"],
        ),
        (lambda: EarlyStopping(patiance=3), ["patiance: unknown option; did you mean 'patience'?"]),
        (lambda: EarlyStopping(patience=-1, mode="MAX"), ["patience=-1", "did you mean 'max'?"]),
        (lambda: EarlyStopping(patience=1.5), ["patience=1.5"]),
        (lambda: EarlyStopping(3), ["takes only options by name", "patience"]),
        (lambda: EarlyStopping(monitor=""), ["monitor=''"]),
        (lambda: EarlyStopping(baseline=float("nan")), ["baseline=nan: give a finite number"]),
        (lambda: EarlyStopping(verbose=3), ["verbose=3"]),
        (lambda: ReduceLROnPlateau(factor=1.0), ["factor=1.0: give a number below 1"]),
        (lambda: ReduceLROnPlateau(factor=0), ["factor=0: give a number above 0"]),
        (lambda: ReduceLROnPlateau(min_lr=-1, cooldown=-1), ["min_lr=-1", "cooldown=-1"]),
        (lambda: ReduceLROnPlateau(epsilon=1), ["epsilon: unknown option"]),
        (
            lambda: ModelCheckpoint("x", save_freq=True),
            ['save_freq=True: give "epoch", "validation", or text'],
        ),
        (lambda: ModelCheckpoint("x", save_freq=0), ["save_freq=0: give"]),
        (lambda: ModelCheckpoint(5), ["filepath=5: give text"]),
        (lambda: ModelCheckpoint("x", save_freq="batch"), ["save_freq='batch': give", '"2 epochs"']),
        (lambda: ModelCheckpoint("x", save_freq="0 steps"), ["save_freq='0 steps': give"]),
        (lambda: ModelCheckpoint("x", save_freq="ten minutes"), ["save_freq='ten minutes': give", '"10 minutes"']),
        (lambda: ModelCheckpoint("x", keep=0, keep_last=-1), ["keep=0", "keep_last=-1"]),
        (lambda: ModelCheckpoint("x", keep=2), ["keep=2: filepath='x' gives", "put {epoch} or {step} into it"]),
        (lambda: ModelCheckpoint("{{x}}", keep_last=2), ["keep_last=2: filepath='{{x}}' gives"]),
        (lambda: ModelCheckpoint("x", keep=1, keep_last=1), ["keep_last=1: filepath='x' gives"]),
        (lambda: ModelCheckpoint("a/last.pt", save_last=True), ["save_last=True: this would write 'a/last.pt'"]),
        (lambda: ModelCheckpoint("end", save_on=("end",)), ["save_on=('end',): this would write 'end'"]),
        (lambda: ModelCheckpoint("x", save_on=("ends",)), ["did you mean 'end'?"]),
        (lambda: ModelCheckpoint("{epoch.real}"), ["a field is one name with a number format"]),
        (lambda: ModelCheckpoint("x", filepath="y"), ["filepath is given twice"]),
        (lambda: ModelCheckpoint("x", "val_loss"), ["takes only filepath by position"]),
    ],
)
def test_wrong_options_are_refused_all_at_once_with_the_fix(make: Any, sentences: list[str]) -> None:
    """Every wrong option is named when it is written, with what it should be."""
    with pytest.raises(SettingsError) as raised:
        make()

    for sentence in sentences:
        assert sentence in str(raised.value)
    assert isinstance(raised.value, ValueError)
    assert isinstance(raised.value, trainbus.TrainbusError)


@pytest.mark.parametrize(
    ("make", "name", "sentence"),
    [
        (ModelCheckpoint, "save_top_k", "write keep"),
        (ModelCheckpoint, "save_total_limit", "write keep_last"),
        (ModelCheckpoint, "n_saved", "write keep for the best ones, or keep_last"),
        (ModelCheckpoint, "every_n_epochs", 'write save_freq, as in save_freq="2 epochs"'),
        (ModelCheckpoint, "dirpath", "write the directory into filepath"),
        (ModelCheckpoint, "greater_is_better", 'write mode="max" or mode="min"'),
        (EarlyStopping, "early_stopping_patience", "write patience"),
        (EarlyStopping, "threshold", "write min_delta"),
        (EarlyStopping, "load_best", "write restore_best_weights"),
        (ReduceLROnPlateau, "epsilon", "write min_delta"),
        (ReduceLROnPlateau, "gamma", "write factor"),
        (TensorBoard, "profile_batch", 'write profile, as in profile="10:15"'),
        (TensorBoard, "logging_dir", "write log_dir"),
    ],
)
def test_an_option_of_another_library_names_ours(make: Any, name: str, sentence: str) -> None:
    """By what it means, since its spelling may be nearer to another one."""
    with pytest.raises(SettingsError) as raised:
        make(**{name: 3})
    assert f"{name}: unknown option; {sentence}" in str(raised.value)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: ModelCheckpoint(""), "ModelCheckpoint: filepath='': give a path; an empty text names none"),
        (lambda: TensorBoard(""), "TensorBoard: log_dir='': give a path; an empty text names none"),
        (lambda: Journal(""), "Journal: path='': give a path; an empty text names none"),
        (lambda: ModelCheckpoint(None), "ModelCheckpoint: filepath=None: give text"),
        (lambda: EarlyStopping(monitor=""), "EarlyStopping: monitor='': give text that is not empty"),
        (lambda: EarlyStopping(monitor=b"\xff"), r"EarlyStopping: monitor=b'\xff': give text"),
        (lambda: EarlyStopping(min_delta=None), "EarlyStopping: min_delta=None: give a number"),
        (lambda: EarlyStopping(min_delta=True), "EarlyStopping: min_delta=True: give a number, not a bool"),
        (lambda: EarlyStopping(patience=2.5), "EarlyStopping: patience=2.5: give a whole number"),
        (lambda: EarlyStopping(patience=-1), "EarlyStopping: patience=-1: give a number of at least 0"),
        (lambda: EarlyStopping(restore_best_weights=-1), "EarlyStopping: restore_best_weights=-1: give True or False"),
        (lambda: EarlyStopping(mode=""), "EarlyStopping: mode='': give 'auto', 'min' or 'max'"),
        (lambda: ModelCheckpoint("m", keep=-1), "ModelCheckpoint: keep=-1: give a number above 0"),
        (lambda: ModelCheckpoint("m", save_on=None), "ModelCheckpoint: save_on=None: give a list"),
    ],
)
def test_a_wrong_option_says_what_to_give(make: Any, sentence: str) -> None:
    """In the words of this library, not in those of the one that validates."""
    with pytest.raises(SettingsError) as raised:
        make()
    assert str(raised.value) == sentence


def test_the_types_of_a_union_are_not_part_of_an_option_s_name() -> None:
    with pytest.raises(SettingsError) as raised:
        TensorBoard(embeddings_metadata={"a": ""})
    assert "embeddings_metadata.a='': give a path; an empty text names none" in str(raised.value)
    assert "[" not in str(raised.value)
