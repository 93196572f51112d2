"""The laws of file name templates."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainbus import MissingMetric, SettingsError
from trainbus.filenames import check_template, fields, fill, with_suffix

identifiers = st.from_regex(r"[a-z][a-z_]{0,8}", fullmatch=True)
specs = st.sampled_from(["", ":02d", ":.3f", ":8.2e"])


@given(st.lists(st.tuples(st.text("ab-/.", max_size=4), identifiers, specs), max_size=4), st.integers(0, 999))
def test_sound_templates_fill_as_str_format_does(parts: list[tuple[str, str, str]], number: int) -> None:
    """Names with number formats give what str.format gives."""
    template = "m" + "".join(f"{text}{{{name}{spec}}}" for text, name, spec in parts)
    values = {name: number for _, name, _ in parts}

    assert check_template(template) == template
    assert fields(template) == [name for _, name, _ in parts]
    assert fill(template, values) == template.format(**values)


@given(st.text("{}ab.[]!:0123d", max_size=12))
def test_whatever_is_accepted_can_be_filled_from_numbers(template: str) -> None:
    """A template is refused when it is written, or it needs nothing but a number for each of its fields."""
    try:
        check_template(template)
    except ValueError:
        return
    try:
        assert isinstance(fill(template, dict.fromkeys(fields(template), 1)), str)
    except SettingsError:
        assert ":" in template  # a format that integers do not take, which only the value can tell


@pytest.mark.parametrize(
    "template",
    [
        "{epoch.__class__}",
        "{logs[0]}",
        "{epoch!r}",
        "{}",
        "{0}",
        "{epoch:>200000000}",
        "{epoch:{width}}",
        "{epoch",
        "epoch}",
        "",
        "a\0b",
    ],
)
def test_hostile_templates_are_refused(template: str) -> None:
    """Attributes, items, conversions, nameless fields, widths of three digits, lone braces and NUL are refused."""
    with pytest.raises(ValueError, match=r"a field is one name|a brace alone|path of a file"):
        check_template(template)


def test_values_cannot_leave_the_directory() -> None:
    """A value with a separator in it does not make a path."""
    assert fill("m-{name}.pt", {"name": "../../etc/x"}) == "m-.._.._etc_x.pt"


def test_unknown_fields_name_the_nearest() -> None:
    """A field that names no metric is refused with the nearest name; an alias is understood."""
    with pytest.raises(MissingMetric, match="'val_los' is not known; did you mean 'val_loss'"):
        fill("{val_los}", {"val_loss": 1.0})
    assert fill("{val_acc:.1f}", {"val_accuracy": 0.5}) == "0.5"


def test_doubled_braces_stand_for_themselves() -> None:
    """{{x}} is written as {x}."""
    assert fill(check_template("{{x}}-{epoch}"), {"epoch": 1}) == "{x}-1"


@given(st.text("ab{}", max_size=3), st.sampled_from(["", ".pt", ".pth"]))
def test_a_suffix_is_given_once(stem: str, suffix: str) -> None:
    """A template without suffix gets the usual one; one that can be written stays."""
    template = f"x{stem}-{{loss:.2f}}{suffix}"

    assert with_suffix(template, [".pt", ".pth"], "TorchSubject") == template + ("" if suffix else ".pt")


def test_a_wrong_suffix_is_refused_naming_the_right_ones() -> None:
    """The error has the suffix that was given and all that can be written."""
    with pytest.raises(SettingsError, match=r"TorchSubject cannot write \.keras; it writes \.pt, \.pth"):
        with_suffix("best.keras", [".pt", ".pth"], "TorchSubject")
