"""Prepared models, optimizers, schedulers and loaders of Accelerate, in one process and in two: a resume is exact."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("accelerate", reason="needs trainbus[transformers]")

from .accelerated import MODULE, in_a_loop
from .jobs import job

ONE: list[dict[str, Any]] = [
    {"accumulate": 2},
    {},
    {"shuffle": False},
    {"seeded": False},
    {"workers": 1},
    {"batch_size": 5},
    {"accumulate": 5},
]


def same(resumed: dict[str, Any], whole: dict[str, Any]) -> bool:
    """Return whether a resumed training is the rest of the unbroken one."""
    seen = whole["seen"]
    return resumed == {**whole, "seen": seen[len(seen) - len(resumed["seen"]) :]}


@pytest.mark.parametrize(
    "words", [pytest.param(each, marks=pytest.mark.exhaustive if n else ()) for n, each in enumerate(ONE)], ids=str
)
def test_a_loop_with_prepared_objects_continues_exactly(
    words: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """In any epoch, at any update; no line says that it is not exact."""
    monkeypatch.chdir(tmp_path)
    whole = in_a_loop("whole", **words)
    steps = sorted(int(each.stem) for each in Path("whole").glob("[0-9]*.pt"))
    for step in steps[:: max(len(steps) // 5, 1)]:
        caplog.clear()
        assert same(in_a_loop("again", f"whole/{step}.pt", **words), whole), step
        assert "drawn from again" not in caplog.text


TWO: list[dict[str, Any]] = [
    {"sources": ["whole/2.pt", "whole/8.pt"]},
    {"sources": ["whole/3.pt", "whole/9.pt"], "seeded": False},
    {"sources": ["whole/2.pt", "whole/5.pt"], "accumulate": 2},
    {"sources": ["whole/2.pt", "whole/9.pt"], "shuffle": False, "batch_size": 5, "even": False},
    {"sources": ["whole/3.pt", "whole/14.pt"], "split": True},
    {
        "sources": ["whole-trainer/checkpoint-3", "whole-trainer/checkpoint-4"],
        "trainer": True,
        "save_strategy": "steps",
        "save_steps": 1,
    },
    {"sources": ["whole-trainer/checkpoint-4"], "trainer": True, "save_strategy": "epoch"},
    {
        "sources": ["whole-trainer/checkpoint-4"],
        "trainer": True,
        "save_strategy": "best",
        "metric_for_best_model": "eval_loss",
    },
    {"sources": ["whole/3.pt", "whole/4.pt"], "trainer": True, "own": True},
    {"sources": ["whole/2.pt"], "trainer": True, "own": True, "gradient_accumulation_steps": 2},
]


@pytest.mark.exhaustive
@pytest.mark.parametrize("words", TWO, ids=str)
def test_two_processes_continue_exactly(words: dict[str, Any], tmp_path: Path) -> None:
    if words.get("trainer"):
        pytest.importorskip("transformers", reason="needs trainbus[transformers]")
    ended = job(tmp_path, 2, MODULE, json.dumps(words), LOCAL_RANK="0", ACCELERATE_USE_CPU="true")

    assert ended.codes == [0, 0], ended.errors
    assert all(each["size"] == 2 for reports in ended.reports for each in reports)
    for whole, *resumed in ended.reports:
        for source, each in zip(words["sources"], resumed, strict=True):
            assert same(each, whole), (source, each, whole)
    assert ended.reports[0][0]["weights"] == ended.reports[1][0]["weights"]
