"""The laws of file name templates."""

import os
import re
import tempfile
from fnmatch import fnmatchcase
from math import inf, nan
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainbus import MissingMetric, SettingsError
from trainbus.checkpoints import manifest_of
from trainbus.checkpoints.names.filename_template import (
    check_template,
    glob_pattern,
    render,
    sibling_path,
    suffix_in,
    template_fields,
    with_suffix,
)

identifiers = st.from_regex(r"[a-z][a-z_]{0,8}", fullmatch=True)
specs = st.sampled_from(["", ":02d", ":.3f", ":8.2e"])


@given(st.lists(st.tuples(st.text("ab-/.", max_size=4), identifiers, specs), max_size=4), st.integers(0, 999))
def test_sound_templates_fill_as_str_format_does(parts: list[tuple[str, str, str]], number: int) -> None:
    """Names with number formats give what str.format gives."""
    template = "m" + "".join(f"{text}{{{name}{spec}}}" for text, name, spec in parts)
    values = {name: number for _, name, _ in parts}

    assert check_template(template) == template
    assert template_fields(template) == [name for _, name, _ in parts]
    assert render(template, values) == template.format(**values)


@given(st.text("{}ab.[]!:0123d", max_size=12))
def test_whatever_is_accepted_can_be_filled_from_numbers(template: str) -> None:
    """A template is refused when it is created, or it needs only a number for each of its fields."""
    try:
        check_template(template)
    except ValueError:
        return
    fields = template_fields(template)
    try:
        assert isinstance(render(template, dict.fromkeys(fields, 1)), str)
    except SettingsError:  # a format of integers, which fits 1, or one of fractions
        assert isinstance(render(template, dict.fromkeys(fields, 0.5)), str)


@pytest.mark.parametrize(
    "template",
    [
        "{epoch.__class__}",
        "{epoch.real}",
        "{step[0]:02d}",
        "{loss.__class__.__init__}",
        "{epoch!r}",
        "{val_loss!s:>9}",
        "{}",
        "{ }",
        "{0}",
        "{:.2f}",
        "{loss:.2q}",
        "{loss:+.123f}",
        "{epoch:>200000000}",
        "{epoch:{width}}",
        "{epoch",
        "epoch}",
        "",
        "a\0b",
    ],
)
def test_hostile_templates_are_refused(template: str) -> None:
    """Attributes of Python, conversions, nameless fields, widths of three digits, lone braces and NUL are refused."""
    with pytest.raises(ValueError, match=r"a field is one name|a single [{}]|path of a file"):
        check_template(template)


hostile = (
    st.text(max_size=12)
    | st.text("./\\:~ \n\0", max_size=6)
    | st.sampled_from(["..", "/etc", "C:\\x", "nul", "com1.x"])
)


@given(
    st.lists(st.sampled_from(["{a}", "{b}", "/", ".", "m", "-{a}", "{{", "é"]), min_size=1, max_size=8),
    hostile,
    hostile,
)
def test_values_cannot_leave_the_directory_that_the_template_names(parts: list[str], a: str, b: str) -> None:
    """Whatever the values: the number of parts stays, parts without a field stay, and no part leads up or away."""
    template = "runs/" + "".join(parts)
    plain, filled = (render(template, values) for values in ({"a": "7", "b": "7"}, {"a": a, "b": b}))

    for kind in (PurePosixPath, PureWindowsPath):
        expected, found = kind(plain).parts, kind(filled).parts
        assert len(found) == len(expected)
        assert all(
            there == wanted or ("7" in wanted and there != "..") for there, wanted in zip(found, expected, strict=True)
        )
        assert not kind(filled).is_absolute()
        assert not kind(filled).drive


@given(st.text(max_size=400) | st.text(".- ", max_size=9) | st.floats() | st.integers(0, 0x10FFFF))
def test_every_value_makes_a_file_name_that_can_be_written(value: Any) -> None:
    """A file of that name can be made and is found under it, with the longer name of its manifest."""
    for template in ["m-{x}.pt", "{x}/m.pt", "{x}", "{x:c}.pt" if isinstance(value, int) else "{x}.weights.h5"]:
        with tempfile.TemporaryDirectory() as folder:
            name = render(template, {"x": value})
            path = Path(folder, name)
            path.parent.mkdir(exist_ok=True)
            manifest_of(path).touch()
            path.touch()
            assert name.isprintable()
            assert os.path.basename(name) in os.listdir(path.parent)  # noqa: PTH119 - a Path would tidy the name up


@pytest.mark.parametrize(
    ("template", "value", "name"),
    [
        ("m-{x}.pt", "../../etc/x", "m-.._.._etc_x.pt"),
        ("{x}/m.pt", "..", "__/m.pt"),
        (".{x}/m.pt", ".", "__/m.pt"),
        ("{x}/m.pt", "", "_/m.pt"),
        ("m-{x}.pt", "a\nb\x1b[2J\u202e", "m-a_b_[2J_.pt"),
        ("m{x}.pt", "C:\\x", "mC__x.pt"),
        ("{x}.pt", "Nul", "_Nul.pt"),
        ("{x}.pt", ".trainbus-staged-1", "_.trainbus-staged-1.pt"),
        ("../{x}.pt", 1, "../1.pt"),
    ],
)
def test_values_that_are_no_names_are_made_harmless(template: str, value: Any, name: str) -> None:
    """Steps up, nothing at all, control characters, drives, devices and our own names do no harm."""
    assert render(template, {"x": value}) == name


@given(st.floats(1e200, 1e300), st.floats(1e200, 1e300))
def test_names_that_are_too_long_are_shortened_and_stay_apart(one: float, other: float) -> None:
    """A loss that has exploded still gives a name, with its suffix, and another loss another one."""
    template = "m-{loss:.4f}-{loss:.99f}.weights.h5"
    names = [render(template, {"loss": loss}) for loss in (one, other)]

    assert all(len(name) <= 240 and name.endswith(".weights.h5") for name in names)
    assert (names[0] == names[1]) == (one == other)


@pytest.mark.parametrize(
    ("template", "path"),
    [
        ("best.pt", "last.pt"),
        ("/a/b/m-{epoch}.pt", "/a/b/last.pt"),
        ("runs/{epoch}/{step}.pt", "runs/last.pt"),
        ("{epoch}/m.pt", "last.pt"),
        ("{{x}}/m.pt", "{x}/last.pt"),
    ],
)
def test_a_sibling_is_in_a_directory_without_fields(template: str, path: str) -> None:
    """A file of a fixed name has a fixed place: the innermost directory that no field is part of."""
    assert sibling_path(template, "last", ".pt") == path


def test_unknown_fields_name_the_nearest() -> None:
    """A field that names no metric is refused with the nearest name; an alias is understood."""
    with pytest.raises(MissingMetric, match="'val_los' is not known; did you mean 'val_loss'"):
        render("{val_los}", {"val_loss": 1.0})
    assert render("{val_acc:.1f}", {"val_accuracy": 0.5}) == "0.5"


@pytest.mark.parametrize(("field", "other"), [("val_准确率", "val_损失"), ("ошибка", "потеря"), ("f1+", "f1-")])
def test_a_field_is_not_filled_from_another_metric(field: str, other: str) -> None:
    """Letters of any alphabet, and symbols, tell names apart."""
    with pytest.raises(MissingMetric, match="is not known"):
        render(f"{{{field}}}", {other: 1.0})
    assert render(f"{{{field}}}", {other: 1.0, field: 2.5}) == "2.5"


NAMES = ["val/mAP@0.50", "precision[0]", "F1 (macro)", "bbox:AP", "loss!", "a.b.c", "top-1 acc", "x!y", "0.5", "f'"]


@pytest.mark.parametrize("name", [*NAMES, "val_准确率", "p<0.5", "k:10", "a:b:c", "AP@0.5:0.95", "recall@[0.5:0.95]"])
@pytest.mark.parametrize(("form", "text"), [("", "0.125"), (":.2f", "0.12"), (":08.3f", "0000.125"), (":", "0.125")])
def test_any_name_of_a_metric_is_a_field(name: str, form: str, text: str) -> None:
    """What follows the last colon is the format, if it is one; a colon at the end says that the rest is the name."""
    template = f"runs/{{epoch}}-{{{name}{form}}}.pt"
    if name in ("k:10", "a:b:c", "AP@0.5:0.95") and not form:  # a format; the next test names it by a colon at the end
        return
    assert template_fields(check_template(template)) == ["epoch", name]
    assert render(template, {"epoch": 1, name: 0.125}) == f"runs/1-{text}.pt"
    assert sibling_path(template, "last", ".pt") == "runs/last.pt"
    assert glob_pattern(template) == "runs/[0-9]*-*.pt"
    assert suffix_in(template) == ".pt"


@given(st.text(st.characters(exclude_characters="{}\0"), min_size=1, max_size=12))
def test_every_name_can_be_written_with_a_colon_at_its_end(name: str) -> None:
    """Unless ``str.format`` would take it for a position, a conversion or an attribute."""
    template = f"{{{name}:}}"
    try:
        check_template(template)
    except ValueError:
        assert re.fullmatch(r"(?s)\s*\d*\s*|.*(![rsa]|\.__\w*)|(epoch|batch|step)[.\[].*", name)
        return
    assert template_fields(template) == [name]
    assert render(template, {name: 0.5}) == "0.5"


@pytest.mark.parametrize(
    ("field", "value", "text"),
    [
        ("{n}", 3.0, "3"),
        ("{n:03d}", 3.0, "003"),
        ("{n:x}", 255.0, "ff"),
        ("{n:d}", np.float32(7), "7"),
        ("{n}", np.float64(7), "7"),
        ("{n}", -0.5, "-0.5"),
        ("{n:.1f}", 3.0, "3.0"),
        ("{n}", 1e300, "1e+300"),
        ("{n:03d}", nan, "nan"),
        ("{n}", inf, "inf"),
        ("{num_errors:04d}", 12.0, "0012"),
        ("{n:03}", 3.0, "003"),
        ("{n:>3}", 3.0, "  3"),
        ("{n:+}", 3.0, "+3"),
        ("{n:,}", 12345.0, "12,345"),
        ("{n:3}", np.float64(3), "  3"),
        ("{n:n}", 3.0, "3"),
        ("{n:06}", 2.5, "0002.5"),
        ("{n:+}", -2.5, "-2.5"),
        ("{n:.2}", 3.0, "3.0"),
        ("{n:g}", 3.0, "3"),
        ("{n:%}", 1.0, "100.000000%"),
    ],
)
def test_whole_numbers_are_written_without_a_point(field: str, value: float, text: str) -> None:
    """A metric that counts is the same in a name as it was logged, though its mean is a float."""
    assert render(check_template(field), {field[1:-1].partition(":")[0]: value}) == text


@pytest.mark.parametrize(
    "field",
    [
        *("{val_loss:03d}", "{accuracy:x}", "{learning_rate:d}", "{val/mIoU_loss:b}", "{F1:02d}", "{epoch:.2d}"),
        *("{epoch:+c}", "{n:.2d}", "{n:.3x}", "{n:,n}", "{n:_c}", "{step:#_.3d}"),
    ],
)
def test_a_format_that_no_value_can_have_is_refused_at_once(field: str) -> None:
    """Integers for what is a fraction, and formats that Python has for no number."""
    with pytest.raises(ValueError, match=r"; write \{.*(\.4f|02d)\}"):
        check_template(field)


def test_a_fraction_in_a_format_of_integers_names_the_way_out() -> None:
    """A metric of any other name may be an integer, which only its value shows."""
    with pytest.raises(SettingsError, match=r"{n:03d} does not fit 0.5; write {n:.4f}"):
        render(check_template("{n:03d}"), {"n": 0.5})


def test_doubled_braces_stand_for_themselves() -> None:
    """{{x}} is written as {x}."""
    assert render(check_template("{{x}}-{epoch}"), {"epoch": 1}) == "{x}-1"


@given(st.text("ab{}", max_size=3), st.sampled_from(["", ".pt", ".pth"]))
def test_a_suffix_is_given_once(stem: str, suffix: str) -> None:
    """A template without suffix gets the usual one; one that can be written stays."""
    template = f"x{stem}-{{loss:.2f}}{suffix}"

    assert with_suffix(template, [".pt", ".pth"]) == template + ("" if suffix else ".pt")


@pytest.mark.parametrize(
    ("template", "name"),
    [
        ("mAP@0.50={val/mAP@0.50:.4f}", "mAP@0.50=0.2500"),
        ("model.{epoch}", "model.1"),
        ("v1.5-{epoch}", "v1.5-1"),
        ("lr0.1", "lr0.1"),
        ("beta=0.9_{epoch:02d}", "beta=0.9_01"),
        ("{epoch}.{step}", "1.20"),
        ("run.2026-11-27", "run.2026-11-27"),
        ("run.{epoch}.best-model", "run.1.best-model"),
        ("t=0.5 (a)", "t=0.5 (a)"),
        ("loss.val_{val/mAP@0.50:.2f}", "loss.val_0.25"),
        ("dir.v1/model", "dir.v1/model"),
        ("dir.v1/m.{epoch}", "dir.v1/m.1"),
        ("val.损失", "val.损失"),
        ("m.a{epoch}", "m.a1"),
        ("m.{epoch}a", "m.1a"),
        ("m.{{v}}", "m.{v}"),
    ],
)
def test_a_dot_in_a_name_does_not_begin_a_suffix(template: str, name: str) -> None:
    """A suffix is a dot, a letter, and letters or digits, without a field; any other end gets the usual suffix."""
    assert suffix_in(template) == ""
    full = with_suffix(check_template(template), [".pt", ".pth"])
    assert render(full, {"epoch": 1, "step": 20, "val/mAP@0.50": 0.25}) == name + ".pt"
    assert with_suffix(template + ".pth", [".pt", ".pth"]) == template + ".pth"
    assert suffix_in(template + ".pth") == ".pth"


@pytest.mark.parametrize("suffix", [".keras", ".h5", ".PT", ".7z.pt2"])
def test_a_suffix_that_cannot_be_written_is_not_taken_for_a_part_of_the_name(suffix: str) -> None:
    """Another library's suffix is refused, not followed by the usual one."""
    with pytest.raises(SettingsError, match=re.escape(f"cannot be saved as .{suffix.rpartition('.')[2]};")):
        with_suffix(f"m-{{epoch}}{suffix}", [".pt", ".pth"])


def test_a_wrong_suffix_is_refused_naming_the_right_ones() -> None:
    """The error has the suffix that was given and all that can be written."""
    with pytest.raises(SettingsError, match=r"this model cannot be saved as \.keras; write \.pt, \.pth"):
        with_suffix("best.keras", [".pt", ".pth"])


@given(
    st.sampled_from(["epoch", "step", "batch"]),
    st.from_regex(r"[<>=^]?[-+ ]?#?0?\d{0,2}[,_]?(\.\d)?[bcdeEfFgGnoxX%]?", fullmatch=True),
    st.integers(0, 10**6),
    st.sampled_from(["{}/m.pt", "e{}/m.pt", "a/{}-x/b/m.pt", "m-{}.pt"]),
)
def test_a_pattern_matches_every_path_that_a_counter_can_name(name: str, form: str, number: int, template: str) -> None:
    """In whatever format: another run must not take such a directory, and a resume must find such a file."""
    template = template.format(f"{{{name}:{form}}}")
    try:
        path = render(check_template(template), {name: number})
    except (ValueError, SettingsError):
        return
    parts, patterns = Path(path).parts, Path(glob_pattern(template)).parts
    assert len(parts) == len(patterns)
    assert all(map(fnmatchcase, parts, patterns))
