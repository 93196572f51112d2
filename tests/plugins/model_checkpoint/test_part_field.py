"""Which names with ``{part}`` a callback accepts, and for which subjects."""

from pathlib import Path
from typing import Any

import keras
import pytest
from sklearn.linear_model import SGDRegressor
from torch import nn

from trainbus import Run, SettingsError, TrainbusError
from trainbus.adapters.keras import KerasSubject
from trainbus.adapters.sklearn import SklearnSubject
from trainbus.adapters.torch import TorchSubject
from trainbus.plugins import ModelCheckpoint
from trainbus.plugins.model_checkpoint.part_field import with_part
from trainbus.testing import LineSubject

from .parts import TwoModels


@pytest.mark.parametrize("filepath", ["{parts}-{epoch}", "m-{{part}}", "part/m", "{val/part}"])
def test_other_names_are_no_such_field(filepath: str) -> None:
    """Metrics with similar names, and plain text, work with one model."""
    assert ModelCheckpoint(filepath).filepath == filepath
    assert with_part(filepath, "netG") == filepath
    with Run(LineSubject(), ModelCheckpoint(filepath)) as run:
        assert run.callbacks


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"filepath": "{part:.2f}"}, r"\{part\} is text and has no number format; write \{part\}"),
        ({"filepath": "{part:02d}-{epoch}"}, r"\{part\} is text and has no number format"),
        ({"filepath": "{part}-{part:s}"}, r"\{part\} is text and has no number format"),
        ({"filepath": "run/{part}/m-{epoch}"}, r"must be in the name of the file.*write 'run/\{part\}-m-\{epoch\}'"),
        ({"filepath": "{part}/{part}-{epoch}"}, r"beside each other; write '\{part\}-\{epoch\}'"),
        ({"filepath": "run-{part}/m"}, r"must be in the name of the file.*take it out of the directory"),
        ({"filepath": "s3://bucket/{part}/m.pt"}, r"write 's3://bucket/\{part\}-m\.pt'"),
        ({"filepath": "{part}", "keep": 2}, r"gives every checkpoint the same name; put \{epoch\}"),
        ({"filepath": "{part}-{epoch}", "save_last": "last"}, r"'last' names one; write '\{part\}-last'"),
        ({"filepath": "{part}-{epoch}", "save_on": {"end": "e-{step}"}}, r"write '\{part\}-e-\{step\}'"),
        (
            {"filepath": "m", "save_last": "last-{part}"},
            r"'last-\{part\}' names a file of each.*put \{part\} into file",
        ),
        ({"filepath": "m", "save_on": {"signal": "{part}"}}, r"put \{part\} into filepath, too"),
        ({"filepath": "{part}-last", "save_last": True}, "is filepath itself; give filepath another name"),
        ({"filepath": "{part}", "content": print}, r"content= and \{part\} in filepath contradict each other"),
    ],
)
def test_names_that_cannot_be_are_refused_when_the_callback_is_made(options: dict[str, Any], why: str) -> None:
    """The message names the option and what to write."""
    with pytest.raises(SettingsError, match=why):
        ModelCheckpoint(**options)


def linear() -> nn.Module:
    return nn.Linear(1, 1)


@pytest.mark.parametrize(
    ("subject", "why"),
    [
        (lambda: TorchSubject(linear()), r"several models, but it has one model; .*TorchSubject\(\{'netG'.*leave \{pa"),
        (lambda: TorchSubject(nn.ModuleDict({"a": linear()})), r"it has one model; several are given by name"),
        (
            lambda: KerasSubject(keras.Sequential([keras.Input((1,))])),
            r"but the run has one model; leave \{part\} out",
        ),
        (lambda: SklearnSubject(SGDRegressor()), r"but the run has one model; leave \{part\} out"),
        (LineSubject, r"but the run has one model; leave \{part\} out"),
        (lambda: None, "the run has no subject"),
    ],
)
def test_one_model_is_refused_before_training(subject: Any, why: str) -> None:
    """Whatever trains it; the message names the field."""
    with pytest.raises(TrainbusError, match=why):
        Run(subject(), ModelCheckpoint("run/{part}-{epoch}"))


@pytest.mark.parametrize(
    ("names", "filepath", "why"),
    [
        (
            ("a/b", "c"),
            "{part}-{epoch}",
            "no file can be named by the model 'a/b' on all systems; name the model 'a_b'",
        ),
        (("a\\b", "c"), "{part}", r"name the model 'a_b'"),
        (
            ("..", "c"),
            "{part}-{epoch}",
            "no file can be named by the model '..' on all systems; name the model 'model'",
        ),
        (("", "c"), "m-{part}", "model ''.*name the model 'model'"),
        ((".hidden", "c"), "{part}", "name the model 'hidden'"),
        (("a\nb", "c"), "{part}", "name the model 'a_b'"),
        (("a:b", "c"), "{part}", "name the model 'a_b'"),
        (("aux", "c"), "{part}", "no file can be named by the model 'aux' on all systems; name the model 'aux_'"),
        (("x" * 300, "c"), "{part}", "no file can be named by the model"),
        (("netG", "netg"), "{part}-{epoch}", "cannot tell the files of the models 'netG' and 'netg' apart"),
        (("caf\u00e9", "cafe\u0301"), "{part}", "cannot tell the files of the models"),
        (("net", "net1"), "{part}{epoch}", r"'net' and 'net1' one name; put a character between \{part\} and the next"),
        (("1net", "net"), "{epoch}{part}", r"one name; put a character between \{part\} and the next field"),
    ],
)
def test_names_of_models_that_no_file_can_have_are_refused(names: tuple[str, ...], filepath: str, why: str) -> None:
    """The message has a name that works; no name is changed silently."""
    subject = TwoModels()
    subject.names = names
    with pytest.raises(SettingsError, match=why):
        Run(subject, ModelCheckpoint(filepath))


@pytest.mark.parametrize(
    ("names", "filepath"),
    [(("aux", "main"), "{part}-{epoch}"), (("a{b", "c}"), "{part}"), (("net", "net1"), "{part}-{epoch}")],
)
def test_other_names_of_models_are_those_of_their_files(names: tuple[str, ...], filepath: str) -> None:
    """Also with braces, and names that only alone are reserved."""
    subject = TwoModels()
    subject.names = names
    with Run(subject, ModelCheckpoint(f"run/{filepath}", save_last=True)) as run:
        for _ in run.epochs(1):
            run.log(loss=1)
    stem = filepath.replace("{epoch}", "1")
    made = {each.name for each in run.result.checkpoints[0].parent.glob("*.npz") if not each.name.startswith(".")}
    assert made == {each for name in names for each in (f"{stem.replace('{part}', name)}.npz", f"{name}-last.npz")}


def test_two_callbacks_do_not_write_one_file() -> None:
    """A template that names a model is that of the other callback's file of this model."""
    listed = [ModelCheckpoint("run/{part}-{epoch}"), ModelCheckpoint("run/offset-{epoch}", save_on=())]
    with pytest.raises(SettingsError, match=r"two callbacks would write '.*/run/offset-\{epoch\}'"):
        Run(TwoModels(), listed)
    with Run(TwoModels(), [*listed[:1], ModelCheckpoint("run/both-{epoch}", save_on=())]) as run:
        assert list(run.callbacks)[:2] == ["ModelCheckpoint", "ModelCheckpoint-2"]


def test_a_sharded_directory_is_refused() -> None:
    """One directory holds all models; the message says how to write a file of each."""
    subject = TorchSubject({"netG": linear(), "netD": linear()})
    with pytest.raises(
        SettingsError, match=r"is a directory, which holds all models; leave \{part\} out, or save as \.pt"
    ):
        Run(subject, ModelCheckpoint("run/{part}.dcp"))


def test_a_directory_at_the_path_of_one_model_is_refused_before_training() -> None:
    """Also at that of a model that is not the first."""
    for name in ("netG", "netD"):
        Path(f"run-{name}/{name}.pt").mkdir(parents=True)
        with pytest.raises(SettingsError, match=rf"run-{name}/{name}\.pt' is a directory; name a file"):
            Run(TorchSubject({"netG": linear(), "netD": linear()}), ModelCheckpoint(f"run-{name}/{{part}}"))
