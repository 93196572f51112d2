"""What is dumped loads as it was, and every mistake in a settings file is named with its line."""

import json
import tomllib
from pathlib import Path

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

import trainbus
from trainbus import Callback, Run, SettingsError, dumps, installed, load
from trainbus.cli import main
from trainbus.plugins import EarlyStopping, Journal, ModelCheckpoint, ReduceLROnPlateau, TensorBoard
from trainbus.settings.settings_file import find_problems, schema
from trainbus.testing import LineSubject

SCHEMA = jsonschema.Draft7Validator(schema())
text = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)
names = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1)
paths = names.map(lambda name: f"./{name}" if name.startswith("~") else name)  # "~0" is the home of a user "0"
callbacks = st.one_of(
    st.builds(
        EarlyStopping,
        monitor=text,
        mode=st.sampled_from(["min", "max"]),
        min_delta=st.floats(0, 1e9),
        baseline=st.none() | st.floats(-1e300, 1e300),
        patience=st.integers(0, 2**63 - 1),
        restore_best_weights=st.booleans(),
    ),
    st.builds(ReduceLROnPlateau, factor=st.floats(1e-12, 0.99), min_lr=st.floats(0, 1e-6)),
    st.builds(ModelCheckpoint, filepath=st.just("m"), save_on=st.sets(st.sampled_from(["end", "signal"])).map(tuple)),
    st.builds(
        TensorBoard,
        log_dir=st.just("logs"),
        hparams=st.none() | st.dictionaries(text, st.booleans() | st.integers() | st.floats(-9, 9) | text, max_size=3),
    ),
    st.builds(Journal, path=paths, enabled=st.booleans()),
)


@given(st.lists(callbacks, max_size=4, unique_by=type))
def test_what_is_dumped_loads_as_it_was(tmp_path_factory: pytest.TempPathFactory, listed: list[Callback]) -> None:
    """Callbacks to TOML and back are equal, whatever their options; and the schema allows what was written."""
    path = tmp_path_factory.mktemp("dumped") / "trainbus.toml"
    path.write_text(dumps(listed), encoding="utf-8", newline="\n")

    assert load(path) == listed
    assert find_problems(path) == []
    SCHEMA.validate(tomllib.loads(path.read_text(encoding="utf-8")))


def test_what_toml_cannot_hold_is_refused() -> None:
    """A None in an option for which None has a meaning."""

    class Odd(Callback):
        """Odd."""

        count: int | None = 3

    with pytest.raises(SettingsError, match="no None"):
        dumps([Odd(count=None)])


MISTAKES = {
    "unknown callback": ('callback = "EarlyStoping"', "did you mean 'EarlyStopping'?"),
    "unknown option": (
        'callback = "EarlyStopping"\n@patiense = 3',
        "patiense: unknown option; did you mean 'patience'?",
    ),
    "wrong value": ('callback = "ReduceLROnPlateau"\n@factor = 1.5', "factor=1.5: give a number below 1"),
    "text of lines": (
        'callback = "EarlyStopping"\n@min_delta = """\nmuch\n"""',
        "min_delta='much\\n': give a number, not text",
    ),
    "in a table": ('callback = "TensorBoard"\n[callbacks.hparams]\nlr = 0.1\n@bad = [\n1,\n2]', "hparams.bad=[1, 2]:"),
    "dotted": ('callback = "TensorBoard"\n@hparams.bad = []', "hparams.bad=[]: give a finite number, a bool or text"),
    "in a list": (
        'callback = "ModelCheckpoint"\nfilepath = "a"\nsave_on = [\n"end",  # x\n@"fin"]',
        "save_on.1='fin'",
    ),
    "no name": ('@@monitor = "loss"', "the key 'callback' with the name of a callback is required; keys: monitor"),
    "quoted": ('callback = "EarlyStopping"\n@"pat ience" = 3', "pat ience: unknown option"),
}
FILLING = ["", "# a = 1 [[callbacks]]", '[[callbacks]]\ncallback = "Journal"\npath = """\n[[callbacks]]\nbad = 1\n"""']


@given(
    st.lists(st.sampled_from(list(MISTAKES)), min_size=1, max_size=4),
    st.lists(st.sampled_from(FILLING[:2])),
    st.booleans(),
)
def test_every_planted_mistake_is_named_with_its_line(
    tmp_path_factory: pytest.TempPathFactory, planted: list[str], filling: list[str], with_text: bool
) -> None:
    """All of them at once, in the order of their lines, in every notation and whatever is between them."""
    lines = [*filling, *(FILLING[2].split("\n") if with_text else [])]
    expected: list[tuple[int, str]] = []
    for name in planted:
        written, why = MISTAKES[name]
        lines += ["", *filling, "[[callbacks]]  # one more"]
        begin = len(lines)
        body = written.split("\n")
        marked = [number for number, line in enumerate(body, start=begin + 1) if line.startswith("@")]
        line = marked[0] if marked else begin + 1
        expected.append((begin if "@@" in written else line, why))
        lines += [each.lstrip("@") for each in body]
    path = tmp_path_factory.mktemp("checked") / "trainbus.toml"
    path.write_text("\n".join(lines))

    found = find_problems(path)

    assert [each.line for each in found] == [line for line, _ in expected]
    for each, (_, why) in zip(found, expected, strict=True):
        assert why in each.why


def test_a_list_written_inline_has_its_lines_too(tmp_path: Path) -> None:
    """In an array of inline tables each element is found in its own line."""
    path = tmp_path / "trainbus.toml"
    path.write_text(
        'callbacks = [\n  {callback = "EarlyStopping", patience = 3},\n\n'
        '  {callback = "EarlyStopping", patience = -3},\n  {callback = "Journl"}]\n'
    )

    assert [each.line for each in find_problems(path)] == [4, 5]


SYNTAX = {
    "no quotes": (
        "[[callbacks]]\ncallback = EarlyStopping\n",
        ":2:12: invalid TOML: invalid value; write text in quotes",
    ),
    "one bracket": (
        "[callbacks]\ncallback = 'EarlyStopping'\n",
        "1: callbacks is not a list: begin each",
    ),
    "torn": ('[[callbacks]]\ncallback = "Early', "trainbus.toml:2:18: invalid TOML: "),
    "twice": ("a = 1\na = 2\n", "trainbus.toml:2:6: invalid TOML: cannot overwrite a value"),
    "deep": ("a = " + "[\n" * 5000, "invalid TOML: nested too deeply"),
    "nothing": ("", "trainbus.toml:1: no callbacks: begin each one with a line [[callbacks]]"),
    "other key": ("[[callback]]\n", "callback: unknown key; did you mean 'callbacks'?"),
    "numbers": ("callbacks = [1]\n", "trainbus.toml:1: 1 is not a table"),
    "clash": (
        '[[callbacks]]\ncallback = "Journal"\n[[callbacks]]\ncallback = "Journal"\n',
        ":3: Journal is listed twice with the same options; remove one",
    ),
}


@pytest.mark.parametrize(("content", "expected_text"), SYNTAX.values(), ids=SYNTAX)
def test_check_says_what_is_wrong_with_the_file_itself(
    content: str, expected_text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """In lines that editors can follow, exit code 2; loading refuses the same."""
    Path("trainbus.toml").write_text(content)

    assert main(["check", "trainbus.toml"]) == 2
    assert expected_text in capsys.readouterr().out
    with pytest.raises(SettingsError):
        load("trainbus.toml")


def test_what_cannot_be_read_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    """No file, a directory, no text."""
    Path("trainbus.toml").write_bytes(b"\xff\xfe")
    Path("folder.toml").mkdir()

    for name, expected_text in (
        ("trainbs.toml", "no such file; did you mean 'trainbus.toml'?"),
        ("trainbus.toml", "is not UTF-8 text"),
        ("folder.toml", "cannot be read"),
    ):
        assert main(["check", name]) == 2
        assert expected_text in capsys.readouterr().err


def test_a_sound_file_has_no_problem(capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 0, and the number of callbacks; a byte order mark is not a mistake."""
    Path("trainbus.toml").write_text("\ufeff" + dumps([EarlyStopping(), Journal()]), encoding="utf-8")

    assert main(["check", "trainbus.toml"]) == 0
    assert capsys.readouterr().out == "trainbus.toml: 2 callbacks, no problem\n"


def test_a_file_may_be_the_list_or_an_element_of_it() -> None:
    """Its callbacks replace it in the list; its mistakes are reported with those of the others."""
    Path("a.toml").write_text(dumps([EarlyStopping(patience=2), ReduceLROnPlateau()]))

    assert list(Run(LineSubject(), "a.toml").callbacks) == ["EarlyStopping", "ReduceLROnPlateau"]
    listed = [Path("a.toml"), EarlyStopping(patience=9)]
    assert list(Run(LineSubject(), listed).callbacks) == ["EarlyStopping", "ReduceLROnPlateau", "EarlyStopping-2"]

    Path("a.toml").write_text('[[callbacks]]\ncallback = "EarlyStopping"\npatience = -1\n')
    with pytest.raises(SettingsError, match=r"(?s)2 problems:.*a\.toml:3: EarlyStopping: patience=-1.*Nobody"):
        Run(LineSubject(), ["a.toml", "Nobody"])


def test_the_schema_knows_every_callback_and_every_option(capsys: pytest.CaptureFixture[str]) -> None:
    """It is a valid schema, with the meaning of each option, and refuses what ``check`` refuses."""
    assert main(["schema"]) == 0
    printed = json.loads(capsys.readouterr().out)
    jsonschema.Draft7Validator.check_schema(printed)

    assert printed == schema()
    for name, point in installed("callbacks").items():
        properties = printed["definitions"][name]["properties"]
        assert set(properties) == {"callback", *point.load().model_fields}
        assert all(each.get("description") for each in properties.values())
    validator = jsonschema.Draft7Validator(printed)
    assert validator.is_valid({"callbacks": [{"callback": "EarlyStopping", "patience": 3}]})
    for wrong in (
        {"callback": "EarlyStopping", "patiense": 3},
        {"callback": "None"},
        {"callback": "ModelCheckpoint"},
        {},
    ):
        assert not validator.is_valid({"callbacks": [wrong]})


def test_the_schema_of_the_journal_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    """The journal of a run is valid by it."""
    with trainbus.Run(callbacks=[EarlyStopping(patience=1), Journal("j.jsonl")]) as run:
        for _ in run.epochs(3):
            run.log(val_loss=float("nan"))
    assert main(["schema", "journal"]) == 0
    validator = jsonschema.Draft202012Validator(json.loads(capsys.readouterr().out))

    for line in Path("j.jsonl").read_text().splitlines():
        validator.validate(json.loads(line))
