"""Ranks that train one Keras model by ``fit`` decide as one, on any backend that connects them."""

import importlib.util
import os
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from .jobs import job

SCENES = ("uninterrupted", "interrupted", "asked_to_end", "raising_plugin")
OWN = {"torch": "loop_of_the_guide", "jax": "sharded_weights"}
"""The scenes of a single backend."""


class Played(NamedTuple):
    backend: str
    folder: Path
    reports: list[dict[str, Any]]


@pytest.fixture(scope="module", params=["torch", "jax"])
def two(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Played:
    """Return the reports of two ranks."""
    backend = request.param
    if backend == "jax":
        _need_jax()
    folder = tmp_path_factory.mktemp(backend)
    words = (*SCENES, OWN[backend])
    ended = job(folder, 2, "tests.distributed.keras_scenes", *words, forked=backend == "torch", KERAS_BACKEND=backend)
    assert ended.codes == [0, 0], ended.errors
    return Played(backend, folder, ended.reports)


def _need_jax() -> None:
    if importlib.util.find_spec("jax") is None:
        pytest.skip("needs JAX: pip install 'trainbus[test-jax]'")


@pytest.mark.exhaustive
def test_ranks_decide_by_the_metrics_of_all_samples(two: Played) -> None:
    """Each rank has its own metrics; decisions, epochs, rates and weights follow their mean over the samples."""
    first, second = (report["uninterrupted"] for report in two.reports)
    for name in ("history", "keras", "decided", "reason", "files", "step", "weights"):
        assert first[name] == second[name]
    assert (first["rank"], second["rank"]) == ([0, 2], [1, 2])
    assert first["history"] == first["keras"]
    assert first["reason"].startswith("val_loss ")
    weights = (1, 2) if two.backend == "torch" else (1, 1)  # the second rank's batches are twice as large
    for epoch, (one, other) in enumerate(zip(first["own"], second["own"], strict=True)):
        assert (one == other) == (two.backend == "jax")
        for name in ("loss", "mae", "val_loss", "val_mae"):
            mean = (one[name] * weights[0] + other[name] * weights[1]) / sum(weights)
            assert first["history"][name][epoch] == pytest.approx(mean, rel=1e-6)


@pytest.mark.exhaustive
def test_an_interrupted_fit_continues_to_the_bit(two: Played) -> None:
    """From inside an epoch, with the random generators and running metrics of each rank."""
    for report in two.reports:
        assert report["interrupted"]["resumed"]
        for name in ("history", "reason", "files", "step", "weights"):
            assert report["interrupted"][name] == report["uninterrupted"][name]


def test_rank_0_writes_and_all_leave_together(two: Played) -> None:
    """After the same batch of an epoch without batch listeners, with one checkpoint of it."""
    first, second = (report["asked_to_end"] for report in two.reports)
    assert first == second
    error, many, *_, files, noted = first
    assert (error, many, files, noted) == ("nothing", True, ["signal.keras"], [15])
    written = {"journal.jsonl", "signal.keras", "trainbus.signal.keras.json"}
    assert set(os.listdir(two.folder / "asked")) - {".trainbus.lock"} == written


def test_a_plugin_that_raises_on_one_rank_ends_all(two: Played) -> None:
    """The other rank's error names the rank and the cause."""
    first, second = (report["raising_plugin"] for report in two.reports)
    assert first.startswith("RankError: rank 1: ValueError: not with me")
    assert second.startswith("ValueError: not with me")


def test_what_only_one_backend_has(two: Played) -> None:
    """The guide's own loop decides as one; weights that no process holds completely are refused before training."""
    first, second = (report[OWN[two.backend]] for report in two.reports)
    assert first == second
    if two.backend == "torch":
        losses, decided, _, files = first
        assert len(losses) == len(decided) == 3
        assert files == ["m.keras"]
    else:
        assert "sharded over several processes" in first


def test_a_distribution_over_devices_of_one_process_is_nothing_special(tmp_path: Path) -> None:
    """Under JAX's DataParallel an interrupted fit continues bit by bit, and a signal ends it in order."""
    _need_jax()
    devices = {"KERAS_BACKEND": "jax", "XLA_FLAGS": "--xla_force_host_platform_device_count=2"}
    ended = job(tmp_path, 1, "tests.distributed.keras_scenes", *SCENES[:3], **devices)
    assert ended.codes == [0], ended.errors
    (report,) = ended.reports
    assert report["interrupted"]["resumed"]
    for name in ("history", "reason", "files", "step", "weights"):
        assert report["interrupted"][name] == report["uninterrupted"][name]
    error, many, *_, files, noted = report["asked_to_end"]
    assert (error, many, files, noted) == ("nothing", True, ["signal.keras"], [15])
