"""Tests of the suffixes that a checkpoint's name may have."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainbus import SettingsError
from trainbus.checkpoints.names.filename_template import suffix_in, with_suffix
from trainbus.checkpoints.names.suffix import FORMATS, check_suffix, suffix_at_end

TORCH = [".pt", ".pth", ".dcp"]
SAFE = [".safetensors"]
KERAS = [".keras", ".h5"]
WEIGHTS = [".weights.h5"]


@pytest.mark.parametrize(
    "suffix",
    [
        ".ckpt",
        ".pth.tar",
        ".bin",
        ".model",
        ".tar",
        ".chkpt",
        ".weights",
        ".params",
        ".mdl",
        ".net",
        ".best",
        ".ckpt.tar",
    ],
)
@pytest.mark.parametrize("own", [TORCH, KERAS, WEIGHTS, [".skops"]])
def test_a_suffix_that_names_no_format_is_kept(suffix: str, own: list[str]) -> None:
    """It is the suffix of the template, and nothing is added."""
    assert suffix_in(f"run.1/m-{{epoch}}{suffix}") == suffix
    assert with_suffix(f"run.1/m-{{epoch}}{suffix}", own) == f"run.1/m-{{epoch}}{suffix}"


@pytest.mark.parametrize(
    ("given", "own", "others", "meant"),
    [
        (".safetensor", TORCH, SAFE, "did you mean .safetensors? write .pt, .pth, .dcp, or, with x=1, .safetensors"),
        (".saftensors", TORCH, SAFE, "did you mean .safetensors?"),
        (".safetensros", [*TORCH, *SAFE], [], "did you mean .safetensors? write .pt, .pth, .dcp, .safetensors"),
        (".SafeTensors", TORCH, SAFE, "did you mean .safetensors?"),
        (".kears", KERAS, WEIGHTS, "did you mean .keras? write .keras, .h5"),
        (".kears", TORCH, SAFE, "it is almost .keras; write .pt, .pth, .dcp"),
        (".keres", KERAS, WEIGHTS, "did you mean .keras?"),
        (".wieghts.h5", KERAS, WEIGHTS, "did you mean .weights.h5? write .keras, .h5, or, with x=1, .weights.h5"),
        (".weigths.h5", WEIGHTS, KERAS, "did you mean .weights.h5? write .weights.h5"),
        (".weight.h5", WEIGHTS, KERAS, "did you mean .weights.h5?"),
        (".weights.hdf5", WEIGHTS, KERAS, "did you mean .weights.h5?"),
        (".weights.H5", WEIGHTS, KERAS, "did you mean .weights.h5?"),
        (".PT", TORCH, SAFE, "did you mean .pt?"),
        (".pht", TORCH, SAFE, "did you mean .pth?"),
        (".ptt", TORCH, SAFE, "did you mean .pt?"),
        (".dpc", TORCH, SAFE, "did you mean .dcp?"),
        (".skop", [".skops"], [], "did you mean .skops?"),
        (".jobilb", [".skops"], [], "it is almost .joblib; write .skops"),
        (".joblbb", [".skops"], [], "it is almost .joblib; write .skops"),  # difflib finds two edits in each of these
        (".kerss", KERAS, WEIGHTS, "did you mean .keras?"),
        (".skoss", [".skops"], [], "did you mean .skops?"),
        (".msgpakk", TORCH, SAFE, "it is almost .msgpack;"),
        (".pickee", TORCH, SAFE, "it is almost .pickle;"),
        (".tfliee", KERAS, WEIGHTS, "it is almost .tflite;"),
        (".jsoll", TORCH, SAFE, "it is almost .jsonl;"),
    ],
)
def test_a_slip_is_refused_with_the_right_suffix(given: str, own: list[str], others: list[str], meant: str) -> None:
    """The suffix that was almost written is named, and how it can be written if it needs another option."""
    assert suffix_at_end(f"m{given}") == given
    with pytest.raises(SettingsError, match=re.escape(f"cannot be saved as {given}; {meant}")):
        check_suffix(given, own, others, "with x=1")


@pytest.mark.parametrize("suffix", sorted(FORMATS - {*TORCH, *SAFE}))
def test_a_suffix_that_names_another_format_is_refused(suffix: str) -> None:
    """A file named after a format has that format."""
    with pytest.raises(
        SettingsError, match=re.escape(f"'m{suffix}': this model cannot be saved as {suffix}; write .pt")
    ):
        with_suffix(f"m{suffix}", TORCH, SAFE)


def test_a_model_with_one_format_takes_no_other_suffix() -> None:
    """The shards of a model are a directory, which no other suffix may name."""
    with pytest.raises(SettingsError, match=r"'m\.ckpt': this model cannot be saved as \.ckpt; write \.dcp"):
        with_suffix("m.ckpt", [".dcp"], any_other=False)


@pytest.mark.parametrize(
    "name",
    [
        "v1.5",
        "lr0.001",
        "net.v2",
        "net.V10",
        "1.0.rc1",
        "m-1.e5",
        "a1.dev3",
        "2026.11.27",
        "m",
        ".pt",
        "x.损失",
        "a.b-c",
        "a.",
    ],
)
def test_a_version_or_a_number_is_no_suffix(name: str) -> None:
    """Such a name gets the model's suffix."""
    assert suffix_at_end(name) == ""
    expected = name if name == ".pt" else f"{name}.pt"
    assert with_suffix(name, TORCH) == expected


@given(st.text(st.characters(codec="utf-8", exclude_characters="/\\{}\0"), max_size=12))
def test_a_suffix_is_the_end_of_the_name_and_given_once(name: str) -> None:
    """What is found is at the end of the name; a name with its suffix gets no second one."""
    suffix = suffix_at_end(name)
    assert name.endswith(suffix)
    assert suffix_at_end(f"{Path(name).name}x.ckpt") == ".ckpt"
    try:
        full = with_suffix(name, TORCH)
    except SettingsError:
        return
    assert full.startswith(name)
    assert with_suffix(full, TORCH) == full
