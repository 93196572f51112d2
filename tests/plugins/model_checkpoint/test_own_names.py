"""Tests of how a run recognizes files at paths to which it may save."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainbus.checkpoints.names.filename_template import render, sibling_path
from trainbus.plugins import ModelCheckpoint
from trainbus.plugins.model_checkpoint.own_names import OwnNames
from trainbus.testing import LineSubject

TEMPLATES = [
    "m-{epoch}",
    "m-{epoch:03d}-{loss:.2f}.ckpt",
    "{loss}",
    "{epoch}/m",
    "a{{b}}-{step}",
    "x[1]*/{epoch}/{step}",
]


@given(
    st.sampled_from(TEMPLATES),
    st.sampled_from(["", "run/", "r{{u}}n/[x]/"]),
    st.integers(1, 10**6),
    st.floats(allow_nan=True),
)
def test_each_file_of_a_template_is_found(template: str, directory: str, number: int, loss: float) -> None:
    """Whatever the values of its fields are, also if they are not finite."""
    saver = ModelCheckpoint(directory + template, save_last="last-{epoch}")
    names = OwnNames([saver], LineSubject())
    values = {"epoch": number, "step": number, "loss": loss}
    for each in (saver.template_for(LineSubject()), saver.fixed_paths()["last"]):
        path = render(each, values).removeprefix(sibling_path(saver.filepath, "", ""))
        path += "" if path.endswith((".npz", ".ckpt")) else ".npz"
        assert names.find(path) == path
        assert names.find(f"{path}/part") == path
        assert names.find(f"elsewhere/{path}") in ("", f"elsewhere/{path}".split("/part")[0])


@pytest.mark.parametrize(
    ("template", "name"),
    [
        ("m-{epoch}", "m-best.npz"), ("m-{epoch}", "m-1.pt"), ("m-{epoch}", ".m-1.npz"), ("{loss}", ".x.npz"),
        ("{loss}", "journal.jsonl"), ("{loss}", "trainbus.m.npz.json"), ("m.ckpt", "m.npz"), ("{epoch}/m", "a1/m.npz"),
        ("{epoch}/m", "1/x.npz"), ("{epoch}/m", "1"), ("m", "M.npz.bak"), ("a{{b}}", "a{{b}}.npz"),
    ],
)  # fmt: skip
def test_other_files_are_not_found(template: str, name: str) -> None:
    """Those of another name, suffix or directory, and hidden ones."""
    assert OwnNames([ModelCheckpoint(f"run/{template}")], LineSubject()).find(name) == ""


@pytest.mark.parametrize("subject", [None, LineSubject()])
def test_the_names_are_those_of_all_callbacks(subject: Any) -> None:
    """Without a subject, any suffix may be added."""
    names = OwnNames([ModelCheckpoint("run/a"), ModelCheckpoint("run/b-{epoch}.bin", save_on=())], subject)
    found = [names.find(each) for each in ("a.npz", "b-2.bin", "signal.npz", "c.npz")]
    assert found == ["a.npz", "b-2.bin", "signal.npz", ""]
