"""The callbacks act as Ignite's handlers do when they are attached to real engines and events.

By design they differ: a training that goes on is resumed, so that its handlers need no ``reset`` and no
``state_dict``; values are logged as single numbers, so a nested output is refused in place of being searched.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from trainbus import MissingCapability, Run, SettingsError, hookimpl
from trainbus.adapters.torch import TorchSubject
from trainbus.plugins import EarlyStopping, ModelCheckpoint, ReduceLROnPlateau, TerminateOnNaN, TimeLimit

from .trainings import BATCHES, EPOCHS, histories, saved, train, validated

engine = pytest.importorskip("ignite.engine", reason="needs trainbus[bench]")
handlers = pytest.importorskip("ignite.handlers", reason="needs trainbus[bench]")
STEPS = EPOCHS * BATCHES


def driven(event: Any, handler: Any, trainer: Any, values: Sequence[float] = ()) -> Any:
    """Return Ignite's trainer after a run of ``EPOCHS`` epochs in which the handler is called at the event.

    The values are what its iterations return.
    """
    trainer.add_event_handler(event, handler)
    trainer.run(list(values) or [0.0] * BATCHES, max_epochs=EPOCHS)
    return trainer


def lengthened(values: Sequence[float]) -> list[float]:
    return [*values, *(1.0 + (-1) ** number * 2**-8 * (2 * number + 1) for number in range(STEPS))][:STEPS]


def events() -> list[tuple[Any, str, list[int]]]:
    """Return events of Ignite, what they are here, and the weight updates after which they come."""
    iterations, epochs = engine.Events.ITERATION_COMPLETED, engine.Events.EPOCH_COMPLETED
    return [
        (iterations(every=1), "1 steps", [*range(1, STEPS + 1)]),
        (iterations(every=3), "3 steps", [*range(3, STEPS + 1, 3)]),
        (iterations(every=5), "5 steps", [*range(5, STEPS + 1, 5)]),
        (epochs, "epoch", [*range(BATCHES, STEPS + 1, BATCHES)]),
        (epochs(every=2), "2 epochs", [*range(2 * BATCHES, STEPS + 1, 2 * BATCHES)]),
    ]


@pytest.mark.exhaustive
@pytest.mark.parametrize(("event", "every", "steps"), events())
@pytest.mark.parametrize("patience", [1, 2])
@pytest.mark.parametrize("cumulative", [False, True])
def test_patience_counts_events(event: Any, every: str, steps: list[int], patience: int, cumulative: bool) -> None:
    """The same weight update is the last; at iterations, the value is that of the validation in the batch."""
    for history in histories(4):
        values = lengthened(history)
        trainer, given = engine.Engine(lambda *_: None), iter(values)
        handler = handlers.EarlyStopping(
            patience, lambda _, given=given: next(given), trainer, threshold=0.5, cumulative=cumulative
        )
        driven(event, handler, trainer)
        callback = EarlyStopping(
            monitor="val_score",
            mode="max",
            patience=patience,
            min_delta=0.5,
            cumulative_delta=cumulative,
            every=every,
            value="last" if every.endswith("steps") else "mean",
        )

        assert validated(values, callback, steps).step == trainer.state.iteration, values


@pytest.mark.parametrize(("event", "every", "steps"), events())
@pytest.mark.parametrize("n_saved", [None, 1, 2])
def test_saves_at_events(event: Any, every: str, steps: list[int], n_saved: int | None, tmp_path: Path) -> None:
    """Without a score function, the last ``n_saved``."""
    saver = handlers.Checkpoint(
        {"model": torch.nn.Linear(1, 1)},
        tmp_path / "its",
        n_saved=n_saved,
        filename_pattern="{global_step}.pt",
        global_step_transform=lambda it, _: it.state.iteration,
    )
    driven(event, saver, engine.Engine(lambda *_: None))
    validated([], ModelCheckpoint(tmp_path / "own/{step}", save_freq=every, keep_last=n_saved), [])

    assert saved(tmp_path / "own") == saved(tmp_path / "its") == sorted(map(str, steps[-(n_saved or len(steps)) :]))


def in_ignite(values: Sequence[float], folder: Path, **options: Any) -> Any:
    """Return Ignite's saver after one call for each value."""
    given, trainer = iter(values), engine.Engine(lambda *_: None)
    saver = handlers.Checkpoint(
        {"model": torch.nn.Linear(1, 1)},
        handlers.DiskSaver(folder, require_empty=False),
        score_function=lambda _: next(given),
        global_step_transform=lambda it, _: it.state.epoch,
        **options,
    )
    trainer.last_event_name = engine.Events.EPOCH_COMPLETED
    for trainer.state.epoch in range(1, len(values) + 1):
        saver(trainer)
    return saver


@pytest.mark.exhaustive
@pytest.mark.parametrize("n_saved", [1, 2, 3])
def test_greater_or_equal(n_saved: int, tmp_path: Path) -> None:
    """It is ``ties="newer"``: of equal scores the newer stays, also if several are equal."""
    for number, values in enumerate(histories(12)):
        its, own = tmp_path / f"its {number}", tmp_path / f"own {number}"
        in_ignite(values, its, n_saved=n_saved, greater_or_equal=True, filename_pattern="{global_step}.pt")
        train(values, ModelCheckpoint(own / "{epoch}", monitor="score", mode="max", keep=n_saved, ties="newer"))

        assert saved(own) == saved(its), values


def test_of_equal_scores_the_older_stays(tmp_path: Path) -> None:
    """With one file as in Ignite; of two, Ignite removes the older of equal ones for a better score."""
    for number, values in enumerate(histories(5)):
        its, own = tmp_path / f"its {number}", tmp_path / f"own {number}"
        in_ignite(values, its, n_saved=1, filename_pattern="{global_step}.pt")
        train(values, ModelCheckpoint(own / "{epoch}", monitor="score", mode="max", keep=1))

        assert saved(own) == saved(its), values
    in_ignite([1.0, 1.0, 2.0], tmp_path / "its", n_saved=2, filename_pattern="{global_step}.pt")
    train([1.0, 1.0, 2.0], ModelCheckpoint(tmp_path / "own/{epoch}", monitor="score", mode="max", keep=2))

    assert (saved(tmp_path / "its"), saved(tmp_path / "own")) == (["2", "3"], ["1", "3"])


@pytest.mark.parametrize(
    ("options", "template"),
    [
        ({}, "model_{epoch}_{score:.4f}"),
        ({"score_name": "acc"}, "model_{epoch}_acc={score:.4f}"),
        ({"filename_prefix": "best"}, "best_model_{epoch}_{score:.4f}"),
        ({"filename_prefix": "best", "score_name": "acc"}, "best_model_{epoch}_acc={score:.4f}"),
        (
            {"filename_pattern": "{score_name}-{score}-{global_step}.{ext}", "score_name": "f1"},
            "f1-{score:.4f}-{epoch}",
        ),
        ({"filename_pattern": "chk-{name}--{global_step}.{ext}"}, "chk-model--{epoch}"),
    ],
)
def test_its_names(options: dict[str, Any], template: str, tmp_path: Path) -> None:
    """Prefix, name, step and score are written into ``filepath``."""
    values = [0.25, 0.5, 0.123456]
    in_ignite(values, tmp_path / "its", n_saved=None, **options)
    train(values, ModelCheckpoint(tmp_path / "own" / template))

    assert saved(tmp_path / "own") == saved(tmp_path / "its")


@pytest.mark.parametrize("n_saved", [1, 2])
@pytest.mark.parametrize("at", [2, 3, 4])
def test_include_self_is_always_so(n_saved: int, at: int, tmp_path: Path) -> None:
    """A saver that continues from its state deletes what it has written before; a resumed run does so anyway."""
    values = [1.0, 3.0, 2.0, 4.0, 3.5, 5.0]
    first = in_ignite(values[:at], tmp_path / "its", n_saved=n_saved, filename_pattern="{score}.{ext}")
    given, trainer = iter(values[at:]), engine.Engine(lambda *_: None)
    second = handlers.Checkpoint(
        {"model": torch.nn.Linear(1, 1)},
        handlers.DiskSaver(tmp_path / "its", require_empty=False),
        score_function=lambda _: next(given),
        n_saved=n_saved,
        filename_pattern="{score}.{ext}",
        include_self=True,
    )
    second.load_state_dict(first.state_dict())
    for _ in values[at:]:
        second(trainer)
    callback = ModelCheckpoint(
        tmp_path / "own/{score:.4f}", monitor="score", mode="max", keep=n_saved, save_last="last-{epoch}"
    )
    train(values[:at], callback)
    train(values, callback, resume=tmp_path / f"own/last-{at}.pt")

    kept = [name for name in saved(tmp_path / "own") if not name.startswith("last")]
    assert [float(name) for name in kept] == [float(name) for name in saved(tmp_path / "its")]


def test_require_empty(tmp_path: Path) -> None:
    """DiskSaver's default is ``existing="refuse"``."""
    in_ignite([1.0], tmp_path)
    with pytest.raises(ValueError, match="already present"):
        handlers.DiskSaver(tmp_path)
    callback = ModelCheckpoint(tmp_path / "own/{epoch}", existing="refuse")
    train([1.0], callback)
    with pytest.raises(SettingsError, match="existing"):
        train([1.0], callback)


def test_reset(tmp_path: Path) -> None:
    """``EarlyStopping.reset`` and ``Checkpoint.reset`` at the start of an engine: each run begins anew."""
    callbacks = [
        EarlyStopping(monitor="score", mode="max", patience=2),
        ModelCheckpoint(tmp_path / "{run}/{epoch}", monitor="score", mode="max", keep=1),
    ]
    runs = [train(values, callbacks, run_id=name) for name, values in (("a", [9.0, 8.0, 7.0]), ("b", [1.0, 2.0, 1.5]))]

    assert [run.result.epochs for run in runs] == [3, 3]
    assert saved(tmp_path / "a") + saved(tmp_path / "b") == ["1", "2"]


OUTPUTS = [1.0, torch.tensor(123.45), float("inf"), float("-inf"), float("nan"), torch.tensor([float("nan")]), 0, True]


@pytest.mark.parametrize("output", OUTPUTS)
def test_terminate_on_nan(output: Any) -> None:
    """Single numbers of its own table and others, in the third iteration of the first epoch."""
    outputs = [1.0, 0.8, output, 0.0]
    trainer = driven(
        engine.Events.ITERATION_COMPLETED, handlers.TerminateOnNan(), engine.Engine(lambda _, batch: batch), outputs
    )
    with Run(callbacks=TerminateOnNaN()) as run:
        for _ in run.epochs(EPOCHS):
            for value in run.batches(outputs):
                run.log(loss=float(value) if isinstance(value, bool) else value)

    stopped = not math.isfinite(float(output))
    assert trainer.state.iteration == (3 if stopped else STEPS)
    assert (run.result.reason, run.batch) == (
        (f"loss is {float(output)} in batch 3 of epoch 1", 2) if stopped else ("all epochs done", 3)
    )


NESTED = [(10.0, float("nan"), 1.0), [float("nan"), 10.0], {"a": float("inf")}, {"a": {"b": float("nan")}}]


@pytest.mark.parametrize("output", NESTED)
def test_nested_outputs_are_refused(output: Any) -> None:
    """They are logged one by one, under names; Ignite searches them."""
    trainer = driven(
        engine.Events.ITERATION_COMPLETED, handlers.TerminateOnNan(), engine.Engine(lambda _, batch: batch), [output]
    )
    assert trainer.state.iteration == 1
    with pytest.raises(SettingsError, match="is not a number"), Run(callbacks=TerminateOnNaN()) as run:
        for _ in run.epochs(1):
            for _ in run.batches(range(1)):
                run.log(output=output)


def test_a_schedule_of_ignite_beside_a_cut() -> None:
    """It sets the rate without the cut: refused as the scheduler, and reported in a loop that calls it."""
    model = torch.nn.Linear(1, 1)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    schedule = handlers.LinearCyclicalScheduler(optimizer, "lr", 0.1, 1.0, 10)
    plateau = ReduceLROnPlateau(monitor="score", mode="min", patience=1)
    with (
        pytest.raises(MissingCapability, match="LinearCyclicalScheduler"),
        Run(TorchSubject(model, optimizer, scheduler=schedule), plateau) as run,
    ):
        for _ in run.epochs(1):
            run.log(score=1.0)


@pytest.mark.parametrize("group", [0, 1, None])
@pytest.mark.parametrize("patience", [0, 1])
def test_its_plateau_of_one_group(group: int | None, patience: int) -> None:
    """``param_group_index`` is ``groups``; every event steps it."""
    for history in histories(4):
        values = [*map(abs, history), 9.0, 9.0, 9.0]
        optimizers = []
        for _ in range(2):
            parts = torch.nn.ModuleList(torch.nn.Linear(1, 1) for _ in range(2))
            groups = [{"params": part.parameters(), "lr": rate} for part, rate in zip(parts, (1.0, 0.5), strict=True)]
            optimizers.append((parts, torch.optim.SGD(groups)))
        trainer = engine.Engine(lambda *_: None)
        scheduler = handlers.ReduceLROnPlateauScheduler(
            optimizers[0][1], "score", trainer, param_group_index=group, factor=0.5, patience=patience
        )
        for trainer.state.metrics["score"] in values:
            scheduler(trainer)
        callback = ReduceLROnPlateau(
            monitor="score",
            mode="min",
            rule="torch",
            factor=0.5,
            patience=patience,
            eps=1e-8,
            groups=None if group is None else [f"learning_rate/{group}"],
        )
        with Run(TorchSubject(*optimizers[1]), callback) as run:
            for epoch in run.epochs(len(values)):
                run.log(score=values[epoch])

        rates = [[each["lr"] for each in optimizer.param_groups] for _, optimizer in optimizers]
        assert rates[1] == rates[0] != [1.0, 0.5], values


@pytest.mark.parametrize("seconds", [None, 0, -1, 1.5])
def test_its_limits_that_are_no_time(seconds: Any) -> None:
    """0 and less are refused; ``limit_sec=None`` is no callback at all. Fractions are fine here."""
    if seconds == 1.5:
        assert TimeLimit("1.5 seconds").limit == "1.5 seconds"
        return
    with pytest.raises(SettingsError):
        TimeLimit(None if seconds is None else f"{seconds} seconds")


def test_saved_checkpoint_is_an_event(tmp_path: Path) -> None:
    """``CheckpointEvents.SAVED_CHECKPOINT`` is the hook ``on_checkpoint``: once for each file that is complete."""
    seen: list[str] = []

    class Listener:
        @hookimpl
        def on_checkpoint(self, checkpoint: Any) -> None:
            assert Path(checkpoint.path).is_file()
            seen.append(Path(checkpoint.path).stem)

    values, count = [1.0, 3.0, 2.0, 4.0], [0]
    saver = ModelCheckpoint(tmp_path / "own/{epoch}", monitor="score", mode="max", save_best_only=True)
    train(values, [saver, Listener()])
    given, trainer = iter(values), engine.Engine(lambda *_: None)
    its = handlers.Checkpoint(
        {"model": torch.nn.Linear(1, 1)}, tmp_path / "its", score_function=lambda _: next(given), n_saved=1
    )
    trainer.register_events(*handlers.checkpoint.CheckpointEvents)
    trainer.add_event_handler(
        handlers.checkpoint.CheckpointEvents.SAVED_CHECKPOINT, lambda: count.__setitem__(0, count[0] + 1)
    )
    for _ in values:
        its(trainer)

    assert seen == ["1", "2", "4"]
    assert count == [len(seen)]


def test_others_may_read_a_file(tmp_path: Path) -> None:
    """Ignite's test for its issue 1876: a file has the permissions that the process gives to new files."""
    in_ignite([1.0], tmp_path / "its", n_saved=1)
    train([1.0], ModelCheckpoint(tmp_path / "own/{epoch}"))
    modes = [next((tmp_path / side).glob("*.pt")).stat().st_mode & 0o777 for side in ("own", "its")]
    (tmp_path / "new").touch()

    assert modes[0] == (tmp_path / "new").stat().st_mode & 0o777
    assert modes[0] & 0o444 == modes[1] & 0o444
