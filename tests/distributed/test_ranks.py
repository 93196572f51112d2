"""Ranks in real processes decide as one, whatever goes wrong on one of them, and never wait forever."""

from pathlib import Path
from typing import Any

import pytest
import torch

from trainbus.distributed.rank_times import slow_rank
from trainbus.engine.run_state import RankTime

from .jobs import job
from .scenes import HOOKS, SCENES, SCORES

Reports = dict[int, list[dict[str, Any]]]
ALONE = frozenset({"uneven_batches", "raising_plugins", "raising_loop", "full_disk", "different_loops", "other_files",
                   "resized_inside", "slow_rank"})  # fmt: skip
"""Scenes in which the ranks' reports differ."""


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> Reports:
    """Return the reports of every rank on every scene: of four ranks, and then of two that continue from there."""
    folder = tmp_path_factory.mktemp("job")
    first = job(folder, 4, "tests.distributed.scenes", forked=True)
    assert first.codes == [0] * 4, first.errors
    then = job(folder, 2, "tests.distributed.scenes", "training", "stop_of_the_loop", "asked_to_end", "resized",
               "resized_inside")  # fmt: skip
    assert then.codes == [0] * 2, then.errors
    return {4: first.reports, 2: then.reports[:2]}


def decisions(scene: dict[str, Any]) -> list[Any]:
    """Epoch and actions, without the folder."""
    return [
        [epoch, [action.replace("resized/", "training/") for action in actions]]
        for epoch, _, actions in scene["events"]
        if not isinstance(actions, str)
    ]


def test_all_ranks_end_in_the_same_state(reports: Reports) -> None:
    """Metrics, decisions, commits, files, learning rates, weights to the bit, and errors are those of every rank."""
    for size, ranks in reports.items():
        for name in ranks[0]:
            if name not in ALONE:
                assert all(rank[name] == ranks[0][name] for rank in ranks), (size, name)
                assert "failed" not in str(ranks[0][name])[:10], ranks[0][name]


def test_as_many_ranks_as_there_may_be_decide_the_same(reports: Reports) -> None:
    """Four, two and one: the mean over the ranks is what all of them decide by."""
    alone = SCENES["training"](0, 1)
    for ranks in reports.values():
        assert decisions(ranks[0]["training"]) == decisions(alone)
        assert ranks[0]["training"]["reason"] == alone["reason"]
    assert alone["history"]["val_score"] == SCORES


def test_decisions_about_events_of_the_loop_are_executed_on_all_ranks(reports: Reports) -> None:
    """Of an event that all ranks emit, once; of one that rank 0 emits, on all."""
    alone = SCENES["events_of_the_loop"](0, 1)
    for rank in reports[4]:
        found = rank["events_of_the_loop"]
        assert (found["reason"], found["epochs"]) == (alone["reason"], alone["epochs"]) == ("rank 0 has seen enough", 3)
        assert found["rates"] == alone["rates"] == {"learning_rate": 0.0025}


def test_looks_at_steps_decide_by_the_mean_over_the_ranks(reports: Reports) -> None:
    """As one process with this mean does: the same cuts and the same stop at the same steps."""
    alone = SCENES["looks_at_steps"](0, 1)
    assert reports[4][0]["looks_at_steps"] == alone
    assert all("did not improve" in each["reason"] and each["steps"] < 18 for each in alone)
    assert any("ScaleLearningRate" in str(each["events"]) for each in alone)


def test_looks_at_shares_decide_by_the_mean_over_the_ranks(reports: Reports) -> None:
    """And count a validation once, although each rank counts its own samples."""
    alone = SCENES["looks_at_shares"](0, 1)
    assert reports[4][0]["looks_at_shares"] == alone
    assert alone["steps"] == 15
    assert "ScaleLearningRate" in str(alone["events"])


def test_rank_0_writes_the_files_of_several_models(reports: Reports) -> None:
    """One file each, without DDP's prefix; a run goes on exactly from any of them."""
    names = [f"{name}-{what}.pt" for name in ("netD", "netG") for what in ("4", "last")]
    for rank in reports[4]:
        resumed, *same = rank["several_models"]
        assert same == [True, True]
        assert resumed["seen"] == names
    folder = Path(reports[4][0]["folder"], "models")
    assert set(torch.load(folder / "netG-4.pt")["model"]) == {"weight", "bias"}


def test_a_training_continues_with_fewer_ranks(reports: Reports, monkeypatch: pytest.MonkeyPatch) -> None:
    """Four ranks, then two, then one decide as those that were never interrupted, and keep the same files."""
    folder = Path(reports[4][0]["folder"])
    monkeypatch.chdir(folder)
    last = SCENES["resized"](0, 1)
    uninterrupted = reports[4][0]["training"]
    parts = [*decisions(reports[4][0]["resized"]), *decisions(reports[2][0]["resized"]), *decisions(last)]
    # each part restores its best weights at its end, and the next one repeats the last decision
    parts = [each for each in parts if "Restore" not in str(each) or each[0] + 1 == len(SCORES)]
    assert [each for number, each in enumerate(parts) if each not in parts[:number]] == decisions(uninterrupted)
    assert last["reason"] == uninterrupted["reason"]
    assert [Path(file).name for file in last["files"]] == [Path(file).name for file in uninterrupted["files"]]


def test_a_training_continues_inside_an_epoch_with_fewer_ranks(reports: Reports) -> None:
    """Four ranks leave it and two continue: every row is trained on once an epoch."""
    assert all(rank["resized_inside"][0].startswith("ValueError: all ranks leave") for rank in reports[4])
    assert [rank["resized_inside"][0] for rank in reports[2]] == ["nothing"] * 2
    seen = [tuple(each) for ranks in reports.values() for rank in ranks for each in rank["resized_inside"][1]]
    assert sorted(seen) == [(epoch, row) for epoch in range(3) for row in range(48)]


def test_what_was_decided_at_the_beginning_is_not_decided_again_by_a_resume(reports: Reports) -> None:
    """On all ranks: the rate is halved once."""
    unbroken, broken = reports[4][0]["begun"]
    assert broken == unbroken
    assert unbroken[0] == [0.01] * 3


def test_uneven_batches_inside_join_are_refused_where_ranks_would_wait_for_ever(reports: Reports) -> None:
    """On all ranks, in the first batch; equally many are served."""
    uneven, even = reports[4][0]["joined"]
    assert uneven.startswith("LoopError: inside join() a rank without batches waits for the training of the others")
    assert uneven.endswith("give all ranks equally many batches (now: 2, 3, 4, 5)")
    assert even == "nothing"


def test_an_epoch_costs_two_messages(reports: Reports) -> None:
    """One sum and one answer per epoch, for any number of batches that no plugin listens to."""
    assert reports[4][0]["plain_epochs"] == [2, 2, 2, 2]


def test_metrics_are_reduced_over_batches_and_ranks(reports: Reports) -> None:
    """Means by their counts; sums, extremes, and those of rank 0 alone as they were logged."""
    found = reports[4][0]["reductions"]
    values = [(10 * batch + rank, rank + 1) for batch in range(2) for rank in range(4)]
    assert found["mean"] == [sum(value * count for value, count in values) / 20] * 2
    assert found["sum"] == [sum(value for value, _ in values)] * 2
    assert (found["max"], found["min"], found["own"]) == ([13.0] * 2, [0.0] * 2, [5.0] * 2)
    assert found["array"] == [[6.5, -6.5]] * 2
    assert (found["val_only"], found["late"]) == ([7.0] * 2, [None, 8.0])


def test_a_metric_that_one_rank_logs_is_that_of_all(reports: Reports) -> None:
    """If rank 0 alone validates, all stop together by its metric; all ranks miss a metric that none logs."""
    assert reports[4][0]["validation_on_rank_0"]["reason"].startswith("val_loss 1 did not improve")
    assert reports[4][0]["missing_metric"].startswith("MissingMetric: 'val_loss' is not logged")


def test_decisions_inside_an_epoch_are_those_of_all_ranks(reports: Reports) -> None:
    """Saves at batches happen at the same batch; if a rank has fewer batches, no rank reports the rest."""
    assert reports[4][0]["batches"]["files"] == ["batches/m-3.pt", "batches/m-6.pt", "batches/m-9.pt"]
    saves = [actions for _, actions in decisions(reports[4][0]["uneven_batches"])]
    assert len(saves) == 4
    for rank, each in enumerate(reports[4]):
        assert [actions for _, actions in decisions(each["uneven_batches"])] == saves
        assert (each["uneven_batches"]["epochs"], each["uneven_batches"]["steps"]) == (2, 2 * (4 + rank))


def test_what_one_loop_decides_all_carry_out(reports: Reports) -> None:
    """A stop ends the epoch after the same batch everywhere; any other decision is executed at the end of the epoch."""
    for ranks in reports.values():
        assert (ranks[0]["stop_of_the_loop"]["reason"], ranks[0]["stop_of_the_loop"]["epochs"]) == ("seen enough", 1)
    assert reports[4][0]["decided_by_the_loop"]["files"] == ["by-hand.pt"]
    assert reports[4][0]["decided_by_the_loop"]["history"]["learning_rate"] == [0.02, 0.02, 0.01]


def test_a_plugin_that_raises_on_one_rank_ends_all(reports: Reports) -> None:
    """In any hook: its own rank raises the original error, the others name rank and error; observers affect none."""
    for hook in HOOKS:
        *others, own = (rank["raising_plugins"][hook] for rank in reports[4])
        assert own.startswith(f"ValueError: no {hook} [raised in {hook} by the plugin"), own
        assert all(each.startswith(f"RankError: rank 3: ValueError: no {hook}") for each in others), others
    assert reports[4][0]["raising_observer"] == "nothing"


def test_a_loop_that_raises_on_one_rank_ends_all(reports: Reports) -> None:
    """Ranks that wait for the failed rank get an error that names it and the reason."""
    *others, own = (rank["raising_loop"] for rank in reports[4])
    assert own == "ValueError: no more data"
    assert all(each.startswith("RankError: rank 3 has left: ValueError: no more data") for each in others), others


def test_a_full_disk_on_rank_0_fails_on_all_ranks(reports: Reports) -> None:
    """All end without a commit, or with ``on_error="warn"`` continue; the others' disks are not written to."""
    for rank, each in enumerate(reports[4]):
        scene = each["full_disk"]
        error, events, files = scene["full-0-raise"]
        assert error.startswith("CheckpointError: the checkpoint" if rank == 0 else "RankError: rank 0: CheckpointErr")
        assert (events, [file for file in files if file.startswith("m-")]) == ([], [])
        error, events, files = scene["full-0-warn"]
        assert (error, events, [file for file in files if file.startswith("m-")]) == ("nothing", [], [])
        for on_error in ("raise", "warn"):
            assert scene[f"full-1-{on_error}"][0] == "nothing"
            assert "m-2.pt" in scene[f"full-1-{on_error}"][2]


def test_ranks_that_differ_are_named(reports: Reports) -> None:
    """Other callbacks, other learning rates, other files or an earlier end are errors that say which rank differs."""
    patience, missing = reports[4][0]["other_callbacks"]
    assert "patience=1 on rank 0 and 2 on rank 1" in patience
    assert "ModelCheckpoint is listed on rank 0 only" in missing
    drifted = reports[4][0]["drifting_rates"]
    assert "the ranks are not in the same state: ranks 0, 2, 3: " in drifted
    assert 'rank 1: {"epoch": 0, "learning_rate": 0.05}' in drifted
    for each in reports[4]:
        assert "rank 0 at on_train_end, ranks 1, 2, 3 at on_epoch_end" in each["different_loops"]
        assert "'m.pt' is not the file that rank 0 sees there" in each["other_files"]


def test_the_stacks_of_a_rank_that_hangs_are_in_the_journal_of_rank_0(reports: Reports) -> None:
    """It posts them for all, and no rank waits for it."""
    hangs = {each["rank"]: each for each in reports[4][0]["hanging"]}
    assert hangs[3]["reason"] == "rank 3: no event for 0.3 seconds since batch 3 of epoch 1"
    assert "in hanging" in hangs[3]["stacks"]


def test_a_slow_rank_is_reported_once_by_rank_0_and_measured_on_all(reports: Reports) -> None:
    """Whether the others wait for it at the end of the epoch, or in the collectives of each batch."""
    for rank, each in enumerate(reports[4]):
        for (lines, stats, epochs), did in zip(each["slow_rank"], ("was busy", "computed"), strict=True):
            times = [[RankTime(*one) for one in epoch] for epoch in epochs]
            found = [slow_rank(epoch) for epoch in times]
            assert lines == ([] if rank else [found[0][1]] if found[0] else [found[1][1]] if found[1] else [])
            assert did != "was busy" or found[0] is not None  # a loaded machine may keep all ranks from computing
            assert all(line.startswith(f"rank 1 is slow: it {did} for ") for line in lines)
            assert all(max(epoch, key=lambda one: one.computed) == epoch[1] for epoch in times)
            assert all(len(epoch) == 4 and epoch[1].computed >= 0.45 for epoch in times)
            assert stats["rank_compute_seconds_max"] == times[-1][1].computed


def test_nan_on_one_rank_stops_all_after_the_same_batch(reports: Reports) -> None:
    """No later state is saved, except in the file for it."""
    ranks = reports[4]
    assert len({tuple(each["nan_on_one_rank"][1:3]) for each in ranks}) == 1
    for each in ranks:
        reason, step, seen, _ = each["nan_on_one_rank"]
        assert "loss is nan in " in reason
        assert 7 <= step == seen
    assert ranks[0]["nan_on_one_rank"][3] == ["nan/m-1.pt", "nan-dump/nan.pt"]


def test_all_ranks_end_together_whichever_is_asked_to_end(reports: Reports) -> None:
    """After the same batch, with one checkpoint of it, and each by its signal, or after its handler has taken note."""
    for ranks in reports.values():
        for case, (error, requested, batches, _, files, noted) in ranks[0]["asked_to_end"].items():
            quiet = "SIGTERM" in case or "interrupt" in case
            assert error == ("nothing" if quiet else f"KeyboardInterrupt: {requested}")
            assert batches > 3
            assert [Path(file).name for file in files] == ["signal.pt"]
            assert noted == ([15] if "SIGTERM" in case else [])
