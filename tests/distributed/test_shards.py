"""A model that is sharded over several processes is saved by all, committed by one, and read by any number."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.reliability.listing import without_history
from trainbus.checkpoints import newest_intact, scan

from .jobs import job, torchrun


@pytest.fixture(scope="module", params=[2, pytest.param(4, marks=pytest.mark.exhaustive)])
def size(request: pytest.FixtureRequest) -> int:
    """Return the number of ranks."""
    return int(request.param)


@pytest.fixture(scope="module")
def folder(size: int, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the directory of these ranks."""
    return tmp_path_factory.mktemp(f"ranks-{size}")


@pytest.fixture(scope="module")
def reports(size: int, folder: Path) -> list[dict[str, Any]]:
    """Return the reports of the ranks on all scenes, from one launch."""
    scenes = "uninterrupted foreground interrupted first_part whole_training snapshots full_disk damaged last inspected"
    ended = job(folder, size, "tests.distributed.shards", *scenes.split(), forked=True)
    assert ended.codes == [0] * size, ended.errors
    return ended.reports


def test_a_save_in_the_background_changes_nothing(reports: list[dict[str, Any]]) -> None:
    """Decisions, names, metrics and weights are those of a run that waits for its files, on each rank."""
    for report in reports:
        assert report["uninterrupted"] == report["foreground"]
    assert reports[0]["uninterrupted"]["reason"].startswith("val_score 2.7 did not improve on 2 (epoch 5)")


def test_an_interrupted_training_continues_to_the_bit(reports: list[dict[str, Any]]) -> None:
    """Interrupted between epochs and within one, it ends as the uninterrupted one, each rank's buffers included."""
    for report in reports:
        assert report["interrupted"].pop("resumed") is not None
        report["uninterrupted"].pop("resumed", None)
        assert report["interrupted"] == report["uninterrupted"]


def test_a_snapshot_is_the_state_at_the_decision(reports: list[dict[str, Any]]) -> None:
    """Each checkpoint holds the weights at its decision, though it is written while the ranks train and communicate."""
    for report in reports:
        seen, found = report["snapshots"]
        assert seen == found
        assert len(set(seen.values())) == len(seen) > 5


def test_a_full_disk_on_one_rank_keeps_all_from_committing(reports: list[dict[str, Any]]) -> None:
    """The old checkpoint stays complete; every rank names the one that failed; no debris; the next save succeeds."""
    for report in reports:
        events, between = report["full_disk"]
        assert [entry for entry in events if entry[1:] != [["Save"]]] == [["best.dcp", 0, events[1][2]]]
        assert f"rank {len(reports) - 1}" in events[1][2]
        assert "File too large" in events[1][2]
        assert set(without_history(between)) == {
            ".trainbus.lock",
            "best.dcp",
            "trainbus.best.dcp.json",
            "journal.jsonl",
        }


def test_a_sharded_model_is_not_inspected_by_one_rank(reports: list[dict[str, Any]]) -> None:
    """Charts show what one rank can read alone; those that need all ranks raise an error before the training.

    So does ``FullyShardedDataParallel``, which needs all ranks even to save; its error says how to save it.
    """
    for report in reports:
        found, lines = report["inspected"]
        assert lines == []
        epochs, nodes, refused, looks = found["classic"]
        assert (epochs, nodes) == (2, ["0", "1", "2"])
        assert len(refused) == len(looks) == 3
        assert all("shard the model with torch.distributed.fsdp.fully_shard" in each for each in [*refused, *looks])
        epochs, nodes, refused, looks = found["sharded"]
        assert (epochs, nodes) == (2, ["0", "1", "2"])
        (refusal,) = refused
        assert "its weights are sharded over the ranks" in refusal
        together = "the model is sharded over several processes, which would all have to run the probe together"
        assert looks[:2] == [together] * 2
        assert looks[2] == "its gradients are sharded over the ranks, and no rank has all of one"


def test_whichever_part_is_damaged_all_resume_from_the_one_before(reports: list[dict[str, Any]]) -> None:
    """Each part is verified by one rank; all skip damage that one finds; rank 0 logs what, and whose part it was."""
    size = len(reports)
    of = {f"__{rank}_0.distcp": rank for rank in range(size)} | {f"rank-{rank}.json": rank for rank in range(1, size)}
    of[".metadata"] = 0
    for rank, report in enumerate(reports):
        assert {name: resumed for name, (resumed, _) in report["damaged"].items()} == dict.fromkeys(of, "m-2.dcp 8")
        for name, (_, said) in report["damaged"].items():
            assert bool(said) == (rank == 0)
            if said:
                assert said[0].startswith("skipped: damaged/m-3.dcp: ")
                assert of[name] == 0 or f": rank {of[name]}: the checkpoint" in said[0]
                assert name in said[0] or name == ".metadata"


def test_every_checkpoint_is_complete(reports: list[dict[str, Any]], folder: Path) -> None:
    """Every checkpoint of every scene is intact, and has parts of all ranks."""
    for name in ("uninterrupted", "foreground", "interrupted", "snapshots", "full"):
        for found in scan(folder / name, verify=True):
            assert not found.flaw
            assert found.entry is not None
            assert {part.name.rpartition("/")[2] for part in found.entry.parts} == {
                ".metadata",
                *(f"__{rank}_0.distcp" for rank in range(len(reports))),
                *(f"rank-{rank}.json" for rank in range(1, len(reports))),
            }
            assert not found.entry.run_state.get("other_ranks"), "the states of the other ranks are not in the manifest"


@pytest.mark.parametrize("others", [pytest.param(3, marks=pytest.mark.exhaustive), 1])
def test_other_numbers_of_ranks_decide_the_same(
    others: int, reports: list[dict[str, Any]], folder: Path, tmp_path: Path
) -> None:
    """A run is continued by another number of ranks with the same decisions, and the same weights but for rounding."""
    shutil.copytree(folder / "part", "part")
    shutil.copytree(folder / "uninterrupted", "uninterrupted")
    scenes = ["second_part", "last", *(["plain"] if others == 1 else [])]
    ended = job(Path.cwd(), others, "tests.distributed.shards", *scenes, forked=True)

    assert ended.codes == [0] * others, ended.errors
    full = reports[0]["whole_training"]
    for report in ended.reports:
        again = report["second_part"]
        assert again["resumed"] is not None
        assert [again[name] for name in ("reason", "rates", "files")] == [
            full[name] for name in ("reason", "rates", "files")
        ]
        assert again["loss"][:3] == full["loss"][:3]
        assert again["loss"] == pytest.approx(full["loss"], rel=1e-3)
    assert ended.reports[0]["last"] == reports[0]["last"]
    if others == 1:
        assert ended.reports[0]["plain"] == reports[0]["last"]


@pytest.mark.exhaustive
def test_a_rank_that_is_killed_while_it_writes_costs_nothing() -> None:
    """Killed under torchrun while it writes: the checkpoint on disk is complete, and the run ends as uninterrupted."""
    ended = torchrun(Path.cwd(), 2, "tests.distributed.shards", "killed", "uninterrupted", restarts=2)

    assert ended.codes == [0], ended.errors
    assert Path("killed-once").exists()
    for report in ended.reports:
        assert report["killed"].pop("resumed") is not None
        report["uninterrupted"].pop("resumed")
        assert report["killed"] == report["uninterrupted"]
    newest, passed_over = newest_intact(Path("killed"))
    assert newest is not None
    assert not passed_over
    assert not list(Path("killed").glob(".trainbus-staged-*"))
