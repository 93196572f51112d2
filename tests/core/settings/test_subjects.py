"""What is trained is a subject, the adapter's for a model; what is none is refused with what to give instead."""

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import keras
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import SGDClassifier
from sklearn.pipeline import make_pipeline

import trainbus
from trainbus import Run, SettingsError, hookimpl
from trainbus.adapters.torch import TorchSubject
from trainbus.plugins import EarlyStopping, ModelCheckpoint
from trainbus.settings.subjects import adapter_of, describe, is_callback, is_subject, subject_for
from trainbus.testing import LineSubject

from .conftest import install
from .test_registry import on_path

LINEAR = torch.nn.Linear(2, 1)
OPTIMIZER = torch.optim.SGD(LINEAR.parameters(), lr=0.1)


class Plain:
    """A plain object that listens."""

    @hookimpl
    def on_train_end(self) -> None: ...


@pytest.mark.parametrize(
    ("subject", "sentence"),
    [
        (LINEAR, r"a Linear is not a subject; write Run\(TorchSubject\(model, optimizer\), callbacks\)"),
        (OPTIMIZER, r"a SGD is not a subject; write Run\(TorchSubject\(model, optimizer\)"),
        (SGDClassifier(), r"a SGDClassifier is not a subject; write Run\(SklearnSubject\(model\), callbacks\)"),
        (make_pipeline(SGDClassifier()), r"SklearnSubject\(model\).*trainbus\.watch\(model, callbacks=callbacks\)"),
        (keras.Sequential([keras.layers.Dense(1)]), r"a Sequential is not a subject; write Run\(KerasSubject\(model\)"),
        (torch.nn.Linear, r"the class Linear is given as the subject; give an object of it: Linear\(\.\.\.\)"),
        (TorchSubject, r"the class TorchSubject is given as the subject; give an object of it: TorchSubject\("),
        (EarlyStopping(), r"an EarlyStopping is given as the subject; write Run\(subject, callbacks\), or Run\("),
        ([EarlyStopping(), ModelCheckpoint("m")], r"a list is given as the subject; write Run\(subject, callbacks\)"),
        (EarlyStopping, r"the class EarlyStopping is given as the subject"),
        (Plain(), r"a Plain is given as the subject; write Run\(subject, callbacks\)"),
        (
            "abc",
            r"'abc' is not a subject; .*adapters for flax, jax, keras, sklearn, torch.* or None for a loop that",
        ),
        (3, "3 is not a subject"),
        (True, "True is not a subject"),
        ([], "a list is not a subject"),
        ({"model": LINEAR}, "a dict is not a subject"),
        (object(), "an object is not a subject"),
        (print, "is not a subject"),
    ],
)
def test_what_is_no_subject_is_refused_before_the_run(subject: Any, sentence: str) -> None:
    """A run with it would train on silently, and save, cut and restore nothing."""
    with pytest.raises(SettingsError, match=sentence) as raised:
        Run(subject, EarlyStopping(monitor="loss"))
    assert "\n" not in str(raised.value)


def test_the_problems_of_the_list_do_not_hide_that_of_the_subject() -> None:
    """A model in the place of a subject is named alone, though its callbacks lack what they need."""
    with pytest.raises(SettingsError, match=r"^a Linear is not a subject"):
        Run(LINEAR, [ModelCheckpoint("m"), EarlyStopping(restore_best_weights=True)])


@pytest.mark.parametrize("subject", [None, LineSubject(), TorchSubject(LINEAR, OPTIMIZER)])
def test_subjects_are_taken(subject: Any) -> None:
    """None, one of an adapter, or any object with a capability."""
    assert Run(subject).subject is subject


@pytest.mark.parametrize(
    ("arguments", "options", "sentence"),
    [
        (("abc",), {}, "'abc' is not a subject"),
        ((None,), {}, r"watch needs a model; write Run\(callbacks=callbacks\)"),
        ((torch.nn.Linear,), {}, "the class Linear is given as the subject"),
        (
            (LINEAR, [EarlyStopping()]),
            {},
            r"by name, and a list is given by position; write watch\(model, optimizer, c",
        ),
        ((LINEAR, EarlyStopping()), {}, "an EarlyStopping is given by position"),
        (([EarlyStopping()],), {}, "a list is given by position"),
        ((LINEAR,), {"callback": []}, "watch: unknown argument 'callback'; did you mean 'callbacks'?"),
        ((LINEAR,), {"reume": "auto"}, "did you mean 'resume'?"),
        ((LINEAR,), {"optim": OPTIMIZER}, "watch: unknown argument 'optim'; did you mean 'optimizer'?"),
        ((SGDClassifier(), OPTIMIZER), {}, "watch takes only estimator by position, but 2 were given"),
        ((LineSubject(), OPTIMIZER), {}, "watch takes only model by position, but 2 were given"),
        ((), {}, "watch: the argument 'model' is missing"),
    ],
)
def test_watch_names_what_is_wrong(arguments: Any, options: Any, sentence: str) -> None:
    """Arguments of ``watch`` and of the adapter are known to both."""
    with pytest.raises(SettingsError, match=sentence):
        trainbus.watch(*arguments, **options)


@given(st.one_of(st.text(), st.integers(), st.floats(), st.binary(), st.lists(st.integers()), st.dates()))
def test_plain_data_is_neither_subject_nor_callback(value: Any) -> None:
    """And its description for a message is short and in one line, whatever it holds."""
    assert not is_subject(value)
    assert not is_callback(value)
    assert adapter_of(value) is None
    assert "\n" not in describe(value)


def test_a_subject_that_is_also_a_plugin_may_be_either() -> None:
    """An object of a user may be trained and listen."""

    class Both(LineSubject):
        heard = 0

        @hookimpl
        def on_train_end(self) -> None:
            self.heard += 1

    both = Both()
    with Run(both, [both]):
        pass
    assert both.heard == 1
    assert is_subject(both)
    assert not is_callback(both)


def test_a_description_of_a_long_value_is_short() -> None:
    """A message stays readable if a whole file is given in place of a path."""
    assert len(describe("x" * 10_000)) < 100
    assert re.fullmatch(r"a (Posix|Windows)Path", describe(Path("x")))


ADAPTERS = """
class Subject:
    def __init__(self, model, *rest, scoring=None):
        self.given = (type(self).__name__, model, rest, scoring)

class One(Subject): ...
class Two(Subject): ...
"""


@given(modules=st.lists(st.sampled_from(["one.models", "two", "two.layers", "onesided", "elsewhere"]), max_size=5))
def test_the_first_class_with_an_adapter_decides(modules: list[str], tmp_path_factory: pytest.TempPathFactory) -> None:
    """Of the classes that a model inherits from, whatever the others are; without an adapter it is refused."""
    folder = tmp_path_factory.mktemp("site")
    (folder / "some_adapters.py").write_text(ADAPTERS)
    install(folder, "adapting", "[trainbus.adapters]\none = some_adapters:One\ntwo = some_adapters:Two\n")
    kind: type = type("Model", (SimpleNamespace,), {})
    for module in reversed(modules):
        kind = type("Model", (kind,), {"__module__": module})
    model = kind()
    adapted = [module.partition(".")[0].title() for module in modules if module.partition(".")[0] in ("one", "two")]
    with on_path(folder):
        if not adapted:
            with pytest.raises(SettingsError, match=r"a Model is not a subject; .*there are adapters for .*one"):
                subject_for(model, (), {})
            return
        found = subject_for(model, (), {})
        assert vars(found)["given"] == (adapted[0], model, (), None)
        more = subject_for(model, (1, 2), {"scoring": "f1"})
        assert vars(more)["given"] == (adapted[0], model, (1, 2), "f1")
        with pytest.raises(SettingsError, match=r"did you mean 'scoring'\? arguments: model, scoring"):
            subject_for(model, (), {"scorin": "f1"})
