"""What is installed is found by its entry point without an import, and made by its name."""

import inspect
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainbus import MissingDependency, Run, SettingsError, UnknownName
from trainbus.plugins import EarlyStopping
from trainbus.plugins.progress import Progress
from trainbus.settings.registry import (
    callback_from,
    callbacks_from,
    installed,
    load,
    named_plugin,
    plugins_of_environment,
    summary,
)

from .conftest import install

identifiers = st.from_regex(r"[A-Za-z][A-Za-z0-9_]{0,11}", fullmatch=True)


@contextmanager
def on_path(folder: Path) -> Iterator[None]:
    """Make the packages of a directory importable."""
    sys.path.append(str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))


def test_the_built_ins_are_found_by_entry_points_like_any_other() -> None:
    """The four callbacks, three adapters and the progress plugin are entry points."""
    assert set(installed("callbacks")) >= {"EarlyStopping", "ModelCheckpoint", "ReduceLROnPlateau", "TensorBoard"}
    assert set(installed("adapters")) >= {"keras", "sklearn", "torch"}
    assert "progress" in installed("plugins")


@given(names=st.sets(identifiers, min_size=1, max_size=5))
def test_what_is_installed_meanwhile_is_found_in_order(
    names: set[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Entry points are sorted by name; what is installed or removed after the first search is noticed."""
    folder = tmp_path_factory.mktemp("site")
    before = list(installed("plugins"))
    added = {f"zz_{name}" for name in names}
    with on_path(folder):
        assert list(installed("plugins")) == before
        install(folder, "later", "[trainbus.plugins]\n" + "".join(f"{name} = nowhere:Nothing\n" for name in added))
        assert list(installed("plugins")) == sorted({*before, *added})
    assert list(installed("plugins")) == before


@pytest.mark.usefixtures("stranger")
def test_finding_imports_nothing_and_being_installed_activates_nothing() -> None:
    """A third party's callback is listed, but neither imported nor run until it is requested."""
    assert "Nosy" in installed("callbacks")
    assert summary(installed("callbacks")["Nosy"]) == "Listen to the beginning."
    with Run(callbacks=EarlyStopping(monitor="loss")) as run:
        for _ in run.epochs(1):
            run.log(loss=1)

    assert "stranger" not in sys.modules


def test_two_packages_with_one_name_are_distinguished(stranger: Path) -> None:
    """The same name from two packages is refused, naming both."""
    install(stranger, "stranger", "[trainbus.callbacks]\nEarlyStopping = stranger:Nosy\n")
    with pytest.raises(SettingsError, match=r"trainbus and stranger both define 'EarlyStopping' in trainbus.callbacks"):
        callbacks_from([{"callback": "EarlyStopping"}])


def test_two_packages_may_define_the_same_object(stranger: Path) -> None:
    """An editable install may leave the metadata of an earlier one behind."""
    install(stranger, "stranger_again", "[trainbus.callbacks]\nNosy = stranger:Nosy\n")
    assert load("callbacks", "Nosy") is sys.modules["stranger"].Nosy


@pytest.mark.usefixtures("stranger")
def test_a_broken_package_is_named() -> None:
    """A callback that cannot be imported says which import failed, and hides no other."""
    with pytest.raises(MissingDependency, match=r"'Broken' \(broken:Broken\) cannot be imported: .*no_such_package"):
        load("callbacks", "Broken")
    assert load("callbacks", "Nosy").__name__ == "Nosy"


@pytest.mark.usefixtures("stranger")
def test_in_a_frozen_application_the_message_says_how_to_include_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tools that freeze an application do not see what is loaded by its name."""
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    with pytest.raises(MissingDependency, match=r"no_such_package'; freeze it with --collect-all broken$"):
        load("callbacks", "Broken")


def test_a_missing_dependency_is_raised_as_it_is(stranger: Path) -> None:
    """A package that says itself what to install is not explained a second time."""
    (stranger / "broken.py").write_text("from trainbus import MissingDependency\nraise MissingDependency('pip it')\n")
    with pytest.raises(MissingDependency, match="pip it"):
        load("callbacks", "Broken")


def test_an_unknown_name_is_refused_with_all_that_are_known() -> None:
    """The message suggests the nearest name of the same group."""
    with pytest.raises(UnknownName, match=r"'Progress' is not installed\. trainbus\.callbacks: .*EarlyStopping"):
        load("callbacks", "Progress")
    with pytest.raises(UnknownName, match=r"'EarlyStoping'.*did you mean 'EarlyStopping'\? trainbus\.callbacks: "):
        load("callbacks", "EarlyStoping")


@pytest.mark.parametrize("point", [*installed("callbacks").values(), *installed("plugins").values()])
def test_a_summary_is_the_first_line_of_the_docstring(point: EntryPoint) -> None:
    """It is the same as after an import."""
    assert summary(point) == (inspect.getdoc(point.load()) or "").partition("\n")[0] != ""


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("json:JSONDecoder", json := "Simple JSON <https://json.org> decoder"),
        ("json.decoder:JSONDecoder", json),
        ("no_such_package:Callback", ""),
        ("json.no_such_module:Callback", ""),
        ("json:no_such_name", ""),
        ("math:sqrt", ""),
    ],
)
def test_a_summary_follows_the_imports_of_a_package(value: str, expected: str) -> None:
    """What is compiled, or has no such name in its source, has no summary."""
    assert summary(EntryPoint("any", value, "trainbus.callbacks")) == expected


def test_source_that_this_python_cannot_read_has_no_summary(stranger: Path) -> None:
    """The list of what is installed is printed in any case."""
    point = installed("callbacks")["Broken"]
    for source in (b"class Broken(:", b"\xff", b"a\0b", b"# coding: nothing\n"):
        (stranger / "broken.py").write_bytes(source)
        assert summary(point) == ""
    (stranger / "broken.py").write_bytes("# coding: latin-1\nclass Broken:\n    'Überall.'\n".encode("latin-1"))
    assert summary(point) == "Überall."


@pytest.mark.usefixtures("stranger")
def test_every_problem_of_plain_data_is_reported_with_its_number() -> None:
    """Wrong options, a missing key, an unknown name, and what is no callback come in one error."""
    good = {"callback": "EarlyStopping", "patience": 3}
    assert callbacks_from([good, good]) == [EarlyStopping(patience=3)] * 2
    assert callbacks_from([]) == []
    with pytest.raises(SettingsError) as raised:
        callbacks_from([good, {"patience": 1}, {}, {**good, "patiense": 1}, {"callback": 3}, {"callback": "Plain"}])

    lines = str(raised.value).splitlines()
    assert [line.partition(":")[0] for line in lines] == [f"callback {number}" for number in range(2, 7)]
    assert "the key 'callback' with the name of a callback is required; keys: patience" in lines[0]
    assert "is required; keys: none" in lines[1]
    assert "did you mean 'patience'?" in lines[2]
    assert "is required; keys: callback" in lines[3]
    assert "'Plain' makes a Plugin, which is not a trainbus.Callback" in lines[4]


def test_settings_are_not_changed() -> None:
    """The caller may use the mapping again."""
    settings = {"callback": "EarlyStopping", "patience": 3}
    assert callback_from(settings) == callback_from(settings)
    assert settings == {"callback": "EarlyStopping", "patience": 3}


@pytest.mark.usefixtures("stranger")
def test_a_name_gives_a_callback_or_a_plugin() -> None:
    """A class or a function makes a new one each time; an object is the plugin itself."""
    assert named_plugin("EarlyStopping") == EarlyStopping()
    assert type(named_plugin("nosy_plugin")).__name__ == "Plugin"
    assert named_plugin("nosy_plugin") is not named_plugin("nosy_plugin")
    assert named_plugin("ready_plugin") is named_plugin("ready_plugin")
    assert load("plugins", "progress") is Progress
    with pytest.raises(UnknownName, match=r"did you mean 'ready_plugin'\? callbacks and plugins: .*Nosy.*ready_plugin"):
        named_plugin("redy_plugin")


@given(st.lists(identifiers), st.sampled_from([",", " , ", ",,", ", ,"]))
def test_the_environment_lists_names_between_commas(names: list[str], separator: str) -> None:
    """Spaces and empty names do not count; without the variable there are none."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("TRAINBUS_PLUGINS", raising=False)
        assert plugins_of_environment() == []
        patch.setenv("TRAINBUS_PLUGINS", separator.join(names))
        assert plugins_of_environment() == names
