"""Each plugin gets the state that was saved for it, if that still means the same under its current settings."""

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from trainbus import Callback, Run, SettingsError, hookimpl
from trainbus.plugins import EarlyStopping, Journal, ModelCheckpoint, ReduceLROnPlateau, TensorBoard
from trainbus.resume.plugins.matching import PluginMatch, match_plugins
from trainbus.resume.state import PluginState
from trainbus.testing import LineSubject, scripted

from ..scored import SAVED, resumed

SUBJECT = LineSubject()
BEFORE = [SAVED, EarlyStopping(patience=2, min_delta=0.1), ReduceLROnPlateau(patience=2)]
CHANGES: list[tuple[list[Callback], list[str]]] = [
    ([SAVED, EarlyStopping(patience=50, min_delta=0.1), BEFORE[2]], ["patience 2 -> 50: it keeps its state"]),
    ([SAVED, BEFORE[2], BEFORE[1]], []),
    (
        [SAVED, EarlyStopping(monitor="val_loss_2", patience=2, min_delta=0.1, mode="min"), BEFORE[2]],
        ["monitor 'val_loss' -> 'val_loss_2': it starts without a state"],
    ),
    ([SAVED, BEFORE[1]], ["is no longer listed: its state is dropped"]),
    ([*BEFORE, EarlyStopping(patience=9)], ["is new: it starts without a state"]),
    (
        [SAVED, EarlyStopping(patience=3), BEFORE[2]],
        ["min_delta 0.1 -> 0.0, patience 2 -> 3: it keeps its state"],
    ),
    ([SAVED, EarlyStopping(patience=2, min_delta=0.1, verbose=1), BEFORE[2]], []),
]


SAME: list[tuple[Callback, Callback]] = [
    (EarlyStopping(), EarlyStopping(mode="min")),
    (EarlyStopping(mode="min"), EarlyStopping()),
    (EarlyStopping(monitor="val_acc"), EarlyStopping(monitor="val_accuracy", mode="max")),
    (EarlyStopping(monitor="val/loss"), EarlyStopping(monitor="val_loss")),
    (EarlyStopping(patience=0), EarlyStopping(patience=1)),
    (EarlyStopping(smoothing="ema .90"), EarlyStopping(smoothing="ema 0.9")),
    (EarlyStopping(min_delta=-0.5), EarlyStopping(min_delta=0.5)),
    (ReduceLROnPlateau(), ReduceLROnPlateau(mode="min")),
    (ReduceLROnPlateau(patience=1, cooldown=0), ReduceLROnPlateau(patience=0, cooldown=1)),
    (ModelCheckpoint("run/m"), ModelCheckpoint("./run/m")),
    (ModelCheckpoint("run/m"), ModelCheckpoint(Path("run/x/../m"))),
    (ModelCheckpoint("run/m"), ModelCheckpoint("run/m.npz")),
    (ModelCheckpoint("run/m"), ModelCheckpoint("run/m", save_freq="1 epoch")),
    (ModelCheckpoint("run/m", save_freq=100), ModelCheckpoint("run/m", save_freq="100 batches")),
    (ModelCheckpoint("run/m", save_on=("end", "signal")), ModelCheckpoint("run/m", save_on=("signal", "end"))),
    (ModelCheckpoint("run/m"), ModelCheckpoint("run/m", monitor="val_accuracy", mode="max")),
    (ModelCheckpoint("run/m"), ModelCheckpoint("run/m", background=False)),
    (ModelCheckpoint("run/m", save_best_only=True), ModelCheckpoint("run/m", save_best_only=True, mode="min")),
    (TensorBoard("logs"), TensorBoard("./logs/")),
    (Journal("run/j.jsonl"), Journal("./run/j.jsonl")),
]


@pytest.mark.parametrize(("before", "after"), SAME)
def test_settings_that_mean_the_same_are_equal(before: Callback, after: Callback) -> None:
    """A setting that is written in another way, or that has no effect, is no difference and keeps the state."""
    found = match([before], [after])

    assert found.differences == []
    assert found.unchanged == {"p0": "p0"}
    assert found.states["p0"].state_dict == 0


@pytest.mark.parametrize(
    ("before", "after", "line"),
    [
        (EarlyStopping(), EarlyStopping(mode="max"), "mode 'auto' -> 'max': it starts without a state"),
        (
            EarlyStopping(monitor="val_acc"),
            EarlyStopping(monitor="val_acc", mode="min"),
            "mode 'auto' -> 'min': it starts without a state",
        ),
        (
            ModelCheckpoint("m-{epoch}", keep=2),
            ModelCheckpoint("m-{epoch}", keep=2, mode="max"),
            "mode 'auto' -> 'max': it starts without a state",
        ),
        (EarlyStopping(patience=1), EarlyStopping(patience=2), "patience 1 -> 2: it keeps its state"),
        (
            ModelCheckpoint("run/m"),
            ModelCheckpoint("run/m", save_freq="2 epochs"),
            "save_freq 'epoch' -> '2 epochs': it keeps its state",
        ),
        (ModelCheckpoint("a/m"), ModelCheckpoint("b/m"), "filepath 'a/m' -> 'b/m': it keeps its state"),
        (TensorBoard("a"), TensorBoard("b"), "log_dir 'a' -> 'b': it starts without a state"),
    ],
)
def test_settings_that_mean_something_else_are_a_difference(before: Callback, after: Callback, line: str) -> None:
    """The line shows the settings as they were written."""
    assert match([before], [after]).differences == [f"p0: {line}"]


def test_early_stopping_continues_to_count_if_its_direction_is_written_in_words() -> None:
    resumed([1.0, 2.0], SAVED, EarlyStopping(patience=3))
    run = resumed([1.0, *[2.0] * 9], SAVED, EarlyStopping(patience=3, mode="min"), resume_strict=True)

    assert run.result.reason == "val_loss 2 did not improve on 1 (epoch 1) for the 3rd time"


class Named(LineSubject):
    """A subject whose metric object says that the score improves downwards."""

    def direction_of(self, metric: str) -> str | None:
        return "min" if metric == "my_score" else None


@pytest.mark.parametrize(("mode", "same"), [("min", True), ("max", False)])
def test_the_direction_of_a_metric_object_counts(mode: Any, same: bool) -> None:
    found = match([EarlyStopping(monitor="my_score")], [EarlyStopping(monitor="my_score", mode=mode)], Named())

    assert (found.differences == []) is same


class Renamed(Callback):
    """A callback that has other options than when the checkpoint was saved."""

    limit: int

    def plugin(self) -> object:
        return Counter()


def test_a_callback_whose_class_has_other_options_now_keeps_its_state() -> None:
    saved = [PluginState(name="p", callback="Renamed", settings={"maximum": 3}, state_dict=1)]

    found = match_plugins(saved, {"p": Counter()}, {"p": Renamed(limit=3)})
    assert found.states == {"p": saved[0]}
    assert found.differences == ["p: maximum 3 -> None, limit None -> 3: it keeps its state"]


@pytest.mark.parametrize("kind", [EarlyStopping, ReduceLROnPlateau])
@given(
    scores=st.lists(st.sampled_from([1.0, 2.0, 3.0]), min_size=1, max_size=12),
    data=st.data(),
)
def test_callbacks_with_equal_effective_settings_decide_the_same(kind: Any, scores: list[float], data: Any) -> None:
    """What is equal in the form that a resumed run compares has the same effect."""
    options = {"patience": st.integers(0, 2), "mode": st.sampled_from(["auto", "min"])}
    options |= {"cooldown": st.integers(0, 2)} if kind is ReduceLROnPlateau else {}
    one, other = (kind(**data.draw(st.fixed_dictionaries(options))) for _ in range(2))
    assume(one.effective_settings() == other.effective_settings())

    history = [{"val_loss": score} for score in scores]
    first, second = (
        [(epoch, {type(each) for each in decided}) for epoch, decided in scripted(history, each, LineSubject())[1]]
        for each in (one, other)
    )
    assert first == second


@pytest.mark.parametrize(("after", "lines"), CHANGES)
def test_the_new_settings_win_and_each_difference_is_one_line(
    after: list[Callback], lines: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    resumed([1.0, 1.0], *BEFORE)
    with Run(LineSubject(), after, verbose=0, resume="auto") as run:
        pass

    logged = [record.getMessage() for record in caplog.records]
    assert run.resumed is not None
    assert len(logged) == len(lines)
    assert all(part in line for part, line in zip(lines, logged, strict=True))


@pytest.mark.parametrize(("after", "lines"), CHANGES)
def test_a_strict_resume_refuses_every_difference_at_once(after: list[Callback], lines: list[str]) -> None:
    resumed([1.0, 1.0], *BEFORE)

    with ExitStack() as refused:
        if lines:
            raised = refused.enter_context(pytest.raises(SettingsError, match="resume_strict"))
        refused.enter_context(Run(LineSubject(), after, verbose=0, resume="auto", resume_strict=True))

    if lines:
        assert all(part in str(raised.value) for part in lines)


def test_a_larger_patience_revokes_the_stop_and_continues_counting() -> None:
    resumed([1.0, 2.0, 2.0, 2.0], SAVED, EarlyStopping(patience=2))
    run = resumed([1.0, *[2.0] * 9], SAVED, EarlyStopping(patience=4))

    assert run.result.reason == "val_loss 2 did not improve on 1 (epoch 1) for the 4th time"
    assert run.result.epochs == 5


class Counter:
    """A plain plugin with a state."""

    @hookimpl
    def on_epoch_end(self) -> None: ...

    def state_dict(self) -> dict[str, int]:
        return {"epochs": 1}

    def load_state_dict(self, state: Any) -> None: ...


def match(before: Sequence[Callback], after: Sequence[Callback], subject: object = SUBJECT) -> PluginMatch:
    """Match lists of callbacks whose plugins all have saved a state; its value is the index in ``before``."""
    saved = []
    for index, callback in enumerate(before):
        settings = callback.settings()
        saved.append(
            PluginState(name=f"p{index}", callback=settings.pop("callback"), settings=settings, state_dict=index)
        )
    callbacks = {f"p{index}": callback for index, callback in enumerate(after)}
    return match_plugins(saved, {name: each.plugin() for name, each in callbacks.items()}, callbacks, subject)


different = st.lists(
    st.builds(EarlyStopping, patience=st.integers(1, 9)), unique_by=lambda each: each.patience, max_size=5
)


@given(different.flatmap(lambda listed: st.tuples(st.just(listed), st.permutations(listed))))
def test_equal_settings_match_in_any_order(lists: tuple[list[Callback], list[Callback]]) -> None:
    """A list in another order is no difference: each plugin gets the state of the one with its settings."""
    before, after = lists
    found = match(before, after)

    assert found.differences == []
    assert {name: state.state_dict for name, state in found.states.items()} == {
        f"p{index}": before.index(callback) for index, callback in enumerate(after)
    }
    assert found.unchanged == {f"p{before.index(callback)}": f"p{index}" for index, callback in enumerate(after)}


@given(different, different)
def test_no_state_is_given_twice(before: list[Callback], after: list[Callback]) -> None:
    """Every plugin has at most one state, every state goes to at most one plugin, and the rest is reported."""
    found = match(before, after)

    given_states = [state.state_dict for state in found.states.values()]
    assert len(given_states) == len(set(given_states))
    assert set(found.unchanged.values()) <= set(found.states)
    new = sum("is new" in each for each in found.differences)
    dropped = sum("is no longer listed" in each for each in found.differences)
    assert new == max(len(after) - len(found.states), 0)
    assert dropped == max(len(before) - len(found.states), 0)


def test_a_plain_plugin_is_matched_by_its_name() -> None:
    """Without a callback there are no settings to compare."""
    saved = [PluginState(name="Counter", state_dict={"epochs": 3}), PluginState(name="Other", state_dict={})]

    found = match_plugins(saved, {"Counter": Counter(), "Counter-2": Counter()}, {})
    assert found.states == {"Counter": saved[0]}
    assert found.differences == [
        "Counter-2 is new: it starts without a state",
        "Other is no longer listed: its state is dropped",
    ]


def test_a_plain_plugin_without_a_state_is_unchanged() -> None:
    """Its part of the decision that saved the checkpoint is still valid; one that is gone has lost nothing."""
    found = match_plugins([PluginState(name="Counter"), PluginState(name="Gone")], {"Counter": Counter()}, {})

    assert found.unchanged == {"Counter": "Counter"}
    assert found.differences == []
