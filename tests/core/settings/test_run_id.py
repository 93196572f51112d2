"""Tests of the id of a run, and of paths that it is part of."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainbus import Run, SettingsError
from trainbus.checkpoints.names.filename_template import render
from trainbus.limits import RUN_ID
from trainbus.settings.run_id import ENVIRONMENT, RunStart, has_field, run_id_of

TEXT = (
    st.text(max_size=12) | st.text("ab~._ {}/\\", max_size=6) | st.sampled_from(["con", "nul.x", ".trainbus", "COM1"])
)


def test_the_id_is_given_or_of_the_environment_or_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """In this order; an empty variable counts as none."""
    assert run_id_of(None) is None
    assert Run().run_id != Run().run_id
    monkeypatch.setenv(ENVIRONMENT, "")
    assert run_id_of(None) is None
    monkeypatch.setenv(ENVIRONMENT, "from-outside")
    assert Run().run_id == run_id_of(None) == "from-outside"
    assert Run(run_id="given").run_id == run_id_of("given") == "given"
    monkeypatch.setenv(ENVIRONMENT, "a/b")
    with pytest.raises(SettingsError, match=r"TRAINBUS_RUN_ID='a/b': a directory cannot have this name; write 'a_b'"):
        Run()


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("", "trial-3"), (".", "trial-3"), ("..", "trial-3"), ("*", "trial-3"), ("/", "trial-3"),
        ("a/b", "a_b"), ("a\\b", "a_b"),
        ("/tmp/a", "_tmp_a"), ("../a", "_a"), (".hidden", "hidden"), ("~user", "user"), ("a.", "a"), (" a", "a"),
        ("a ", "a"), ("a\nb", "a_b"), ("a\0b", "a_b"), ("s3://a", "s3___a"), ("con", "_con"), ("a:b", "a_b"),
    ],
)  # fmt: skip
def test_an_id_that_is_no_name_of_a_directory_is_refused(wrong: str, right: str) -> None:
    """The message has the nearest one."""
    with pytest.raises(SettingsError) as caught:
        Run(run_id=wrong)
    assert str(caught.value).endswith(f": a directory cannot have this name; write {right!r}")
    assert run_id_of(right) == right


@pytest.mark.parametrize("wrong", [3, 0, True, b"a", Path("a"), ["a"], 1.5])
def test_an_id_is_text(wrong: object) -> None:
    """Anything else is refused."""
    with pytest.raises(SettingsError, match=r"run_id=.*: give text, such as 'trial-3'"):
        Run(run_id=wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("wrong", ["x" * (RUN_ID + 1), "ü" * RUN_ID, "€" * 40])
def test_an_id_is_short(wrong: str) -> None:
    """A checkpoint holds it, and a path has room for more."""
    with pytest.raises(SettingsError, match="give at most 100 bytes"):
        Run(run_id=wrong)
    assert run_id_of("x" * RUN_ID)


@settings(max_examples=60)
@given(TEXT)
def test_a_valid_id_is_one_name(text: str) -> None:
    """It is the name of one directory, which can be made; and the advice for another one is valid."""
    try:
        assert run_id_of(text) == text
    except SettingsError as error:
        right = str(error).partition("; write ")[2]
        assert not right or run_id_of(eval(right))
        return
    assert Path(text).parts == (text,)
    made = Path("made") / text
    made.mkdir(parents=True, exist_ok=True)
    assert text in [each.name for each in Path("made").iterdir()]


@given(
    st.lists(st.sampled_from(["{{", "}}", "{run}", "{epoch}", "a", "/", "{val_loss:.2f}"]), max_size=8),
    st.sampled_from(["a", "a{b}", "{run}", "{{", "}", "x{epoch}"]),
)
def test_the_id_in_a_template_is_plain_text(parts: list[str], run_id: str) -> None:
    """Braces of the template and of the id are those of the file's name."""
    template = "".join(parts)
    filled = RunStart(run_id).fill("", template, template=True)
    values = {"{{": "{", "}}": "}", "{run}": run_id, "{epoch}": "3", "{val_loss:.2f}": "0.50"}
    assert render(filled, {"epoch": 3, "val_loss": 0.5}) == "".join(values.get(each, each) for each in parts)
    assert has_field(template, template=True) == ("{run}" in parts)


def test_a_missing_id_is_refused() -> None:
    """Where all processes need the same one, and where the run to continue is unknown."""
    for name in ("b-x/more", "a-x/more", "other/more", ".c-x/more", "-x/more", "d-x/other"):
        Path("logs", name).mkdir(parents=True)
    drawn = RunStart("drawn", given=False, world_size=2)
    assert drawn.fill("A: b", "logs/plain") == "logs/plain"
    assert not drawn.is_own
    with pytest.raises(
        SettingsError, match=r"A: b='\{run\}': all processes of a run need one id; give run_id='...', or"
    ):
        drawn.fill("A: b", "{run}")
    auto = RunStart("drawn", given=False, resume="auto")
    with pytest.raises(SettingsError, match=r"needs the id of the run to continue; .*; found: 'a', 'b'$"):
        auto.fill("A: b", "logs/{run}-x/more")
    with pytest.raises(SettingsError, match=r"; found: 'b'$"):
        auto.fill("A: b", "logs/{run}-x", is_run=lambda run_id: run_id == "b")
    with pytest.raises(SettingsError, match=r"; none is there yet$"):
        auto.fill("A: b", "nowhere/{run}")
    for number in range(20):
        Path("many", f"{number:02d}").mkdir(parents=True)
    with pytest.raises(SettingsError, match=r"'08', '09' and 10 more$"):
        auto.fill("A: b", "many/{run}")
    by_path = RunStart("drawn", given=False, resume="run/m.pt")
    assert (by_path.fill("A: b", "logs/{run}"), by_path.is_own) == ("logs/drawn", True)
