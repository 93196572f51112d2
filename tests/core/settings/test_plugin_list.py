"""A list of callbacks becomes the plugins of one run, or one error with all of its problems."""

import sys
from functools import partial
from operator import attrgetter
from pathlib import Path
from typing import Any

import pytest
import torch
from sklearn.linear_model import SGDClassifier

from trainbus import MissingCapability, MissingDependency, Run, SettingsError, TrainbusError, UnknownName, hookimpl
from trainbus.plugins import EarlyStopping, ModelCheckpoint, ReduceLROnPlateau
from trainbus.settings.plugin_list import as_list, build_plugins
from trainbus.testing import LineSubject


class Plain:
    """A plain object that listens."""

    @hookimpl
    def on_train_end(self) -> None: ...


def test_every_kind_of_item_becomes_a_plugin_with_a_unique_name() -> None:
    """Callbacks, settings, names and plain objects, single or in a list, each get a unique stable name."""
    listed = [
        EarlyStopping(patience=5),
        {"callback": "EarlyStopping", "patience": 3},
        "EarlyStopping",
        Plain(),
        Plain(),
    ]

    names = [each.name for each in build_plugins(listed)]
    assert names == ["EarlyStopping", "EarlyStopping-2", "EarlyStopping-3", "Plain", "Plain-2"]
    assert [each.name for each in build_plugins(EarlyStopping())] == ["EarlyStopping"]


def test_plugins_are_called_in_the_order_of_the_list() -> None:
    """The first in the list is called first."""
    called: list[str] = []

    def make(name: str) -> object:
        class Named:
            @hookimpl
            def on_train_begin(self) -> None:
                called.append(name)

        return Named()

    with Run(callbacks=[make("a"), make("b"), make("c")]):
        pass

    assert called == ["a", "b", "c"]


def test_every_problem_of_the_list_is_reported_at_once() -> None:
    """Wrong settings, unknown names, classes, missing capabilities and clashes come in one error."""
    with pytest.raises(SettingsError) as raised:
        Run(
            None,
            [
                {"callback": "EarlyStoping"},
                {"callback": "EarlyStopping", "patiance": 1},
                {"patience": 1},
                EarlyStopping,
                "Telepathy",
                ReduceLROnPlateau(),
                ModelCheckpoint("x"),
                ModelCheckpoint("./x", save_last=True),
                EarlyStopping(monitor="foo"),
            ],
        )

    text = str(raised.value)
    for sentence in (
        "did you mean 'EarlyStopping'?",
        "did you mean 'patience'?",
        "the key 'callback' with the name of a callback is required",
        "EarlyStopping is a class; list an object of it",
        "'Telepathy' is not installed",
        "ReduceLROnPlateau needs a subject with learning rates that can be read and changed while it trains, but",
        "ModelCheckpoint needs a subject that can be written to a file, but the run has no subject",
        "two callbacks would write",
        "mode=",
    ):
        assert sentence in text


def test_a_single_missing_capability_keeps_its_type() -> None:
    """One problem alone is raised as what it is."""
    with pytest.raises(MissingCapability, match="EarlyStopping needs a subject that can be copied to memory"):
        Run(None, EarlyStopping(restore_best_weights=True))


MISTAKES: dict[str, tuple[Any, str]] = {
    "None": ([None, Plain()], r"a callback is None; leave it out of the list"),
    "a list in the list": (
        [[Plain()]],
        r"the list of callbacks contains a list; make one flat list: \[\*callbacks, \*more\]",
    ),
    "a tuple in the list": ([(Plain(),)], r"the list of callbacks contains a tuple"),
    "a mapping by name": (
        {"stop": EarlyStopping()},
        r"a mapping of names to callbacks; give list\(callbacks.values\(\)\)",
    ),
    "a subject": (
        [LineSubject()],
        r"a LineSubject is given as a callback, but is what is trained; write Run\(subject, callbacks\)",
    ),
    "a model": ([torch.nn.Linear(1, 1)], r"a Linear is given as a callback, but is what is trained"),
    "an optimizer": (
        torch.optim.SGD(torch.nn.Linear(1, 1).parameters()),
        r"a SGD is given as a callback, .* the model and its optimizer in one subject",
    ),
    "an estimator": ([SGDClassifier()], r"a SGDClassifier is given as a callback, but is what is trained"),
    "a number": ([3], r"int is not a callback; list callbacks of trainbus\.plugins, or objects with methods"),
    "a function": (
        [print],
        r"^print is a function, .*; list LambdaCallback\(on_epoch_end=print\) from trainbus\.plugins, or",
    ),
    "a lambda": ([lambda run: None], r"^<lambda> is a function, .* LambdaCallback\(on_epoch_end=my_function\)"),
    "a method": ([[].append], r"^append is a function, .* LambdaCallback\(listens_to\('my_event'\)\(append\)\)"),
    "a partial": ([partial(print, 1)], r"^partial is a function, .*; hooks: on_train_begin,"),
    "a function of a module": ([as_list], r"^as_list is a function, .* LambdaCallback\(on_epoch_end=as_list\)"),
    "an object that can be called": ([attrgetter("a")], r"^attrgetter is a function, .* LambdaCallback"),
    "equal ones": (
        [EarlyStopping(), EarlyStopping()],
        r"EarlyStopping is listed twice with the same options; remove one",
    ),
    "equal ones apart": (
        [EarlyStopping(patience=3), Plain(), {"callback": "EarlyStopping", "patience": 3}],
        r"EarlyStopping is listed twice",
    ),
    "equal savers": ([ModelCheckpoint("m"), ModelCheckpoint("m")], r"ModelCheckpoint is listed twice"),
    "equal plateaus": ([ReduceLROnPlateau(), "ReduceLROnPlateau"], r"ReduceLROnPlateau is listed twice"),
    "one and the same": ([(stop := EarlyStopping(mode="max")), stop], r"EarlyStopping is listed twice"),
}


@pytest.mark.parametrize(("listed", "sentence"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_in_the_list_is_one_line_that_names_the_fix(listed: Any, sentence: str) -> None:
    """Whatever stands in the place of a callback."""
    with pytest.raises(SettingsError, match=sentence) as raised:
        Run(LineSubject(), listed)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("listed", "lines"),
    [
        ([ReduceLROnPlateau(patience=2), ReduceLROnPlateau(patience=5)], 1),
        ([ModelCheckpoint("a"), ModelCheckpoint("b"), ReduceLROnPlateau()], 2),
        ([ModelCheckpoint("a"), ModelCheckpoint("b"), ModelCheckpoint("c")], 1),
        ([EarlyStopping(monitor="odd"), EarlyStopping(monitor="odd", patience=2), ReduceLROnPlateau()], 2),
        ([None, None], 1),
        (["EarlyStoping", "EarlyStoping", ReduceLROnPlateau()], 2),
    ],
)
def test_each_problem_is_told_once(listed: list[Any], lines: int) -> None:
    """Also if several callbacks have it."""
    with pytest.raises(TrainbusError) as raised:
        Run(None, listed)
    text = str(raised.value).splitlines()

    assert len(text) == len(set(text)) == (1 if lines == 1 else 1 + lines)


def test_a_list_may_be_anything_that_is_iterated() -> None:
    """A generator, and the values of a mapping."""
    callbacks = {"one": EarlyStopping(patience=1), "two": EarlyStopping(patience=2)}
    for listed in (callbacks.values(), iter(callbacks.values()), (each for each in callbacks.values())):
        assert [each.name for each in build_plugins(listed)] == ["EarlyStopping", "EarlyStopping-2"]


def test_the_same_object_twice_is_refused() -> None:
    """A plugin object can listen once."""
    plain = Plain()

    with pytest.raises(SettingsError, match="listed twice"):
        Run(None, [plain, plain])


def test_a_directory_is_no_file() -> None:
    """A checkpoint path that is a directory is refused before training."""
    Path("best.npz").mkdir()

    with pytest.raises(SettingsError, match="is a directory"):
        Run(LineSubject(), ModelCheckpoint("best.npz"))


@pytest.mark.usefixtures("stranger")
def test_the_environment_names_plugins_and_callbacks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Plugins named by TRAINBUS_PLUGINS run in addition to those of the list, after them."""
    monkeypatch.setenv("TRAINBUS_PLUGINS", "nosy_plugin, Nosy,")
    with Run(callbacks=[Plain()]):
        pass

    assert sys.modules["stranger"].called == ["plugin", "callback"]


def test_an_unknown_name_in_the_environment_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A misspelt name is refused with the variable and the nearest name."""
    monkeypatch.setenv("TRAINBUS_PLUGINS", "progres")

    with pytest.raises(UnknownName, match="TRAINBUS_PLUGINS: 'progres' is not installed; did you mean 'progress'"):
        Run()


@pytest.mark.usefixtures("stranger")
def test_a_callback_that_cannot_be_imported_is_named() -> None:
    """The error says which import failed, and hides no other callback."""
    with pytest.raises(MissingDependency, match=r"'Broken' \(broken:Broken\) cannot be imported: .*no_such_package"):
        Run(callbacks=["Broken"])
    assert build_plugins("Nosy")[0].name == "Nosy"


def test_none_and_sets_are_lists_too() -> None:
    """None means no callbacks; the members of a set are listed like those of a list."""
    assert build_plugins(None) == []
    assert [each.name for each in build_plugins({EarlyStopping()})] == ["EarlyStopping"]


def test_callbacks_of_other_libraries_are_recognized() -> None:
    """A callback of another library is refused with the way out, not for its missing marker."""
    kind = type("EarlyStopping", (), {"__module__": "keras.src.callbacks", "on_epoch_end": lambda self: None})

    with pytest.raises(SettingsError, match=r"is a callback of keras; pass it to keras directly.*trainbus\.plugins"):
        build_plugins([kind()])


def test_a_callback_that_is_given_to_a_framework_names_its_adapter() -> None:
    """If a framework is given a trainbus callback, the error names the adapter to use."""
    with pytest.raises(AttributeError, match=r"EarlyStopping has no 'set_model'.*KerasCallback\(\[EarlyStopping"):
        EarlyStopping().set_model  # noqa: B018
    assert not hasattr(EarlyStopping(), "anything_else")
