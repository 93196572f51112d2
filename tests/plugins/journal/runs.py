"""Runs and their journals, shared by the tests of the journal."""

import json
from pathlib import Path
from typing import Any

from trainbus import Run
from trainbus.journal import (
    RunJournal,
    RunResumed,
    RunStarted,
    read,
)
from trainbus.plugins import EarlyStopping, ModelCheckpoint, ReduceLROnPlateau
from trainbus.testing import LineSubject

SAVED = ModelCheckpoint("run/m-{epoch}", keep_last=2)
STOP = EarlyStopping(patience=3, restore_best_weights=True)
CUT = ReduceLROnPlateau(patience=1, factor=0.5, min_lr=0.1)
JOURNAL = Path("run/journal.jsonl")


def train(scores: list[float], *listed: object, resume: str | None = None, epochs: int | None = None) -> Run:
    with Run(LineSubject(), listed, resume=resume) as run:
        for epoch in run.epochs(len(scores) if epochs is None else epochs):
            for _ in run.batches(range(2)):
                pass
            run.log(val_loss=scores[epoch])
    return run


def read_one(path: Path = JOURNAL) -> RunJournal:
    found = read(path)
    assert len(found) == 1
    return found[0]


def events_of(of: RunJournal) -> list[dict[str, Any]]:
    """Return the events as JSON, without times and without the start and the resumption of the run."""
    kept = [event for event in of.events if not isinstance(event, (RunStarted, RunResumed))]
    return [json.loads(event.model_dump_json(exclude={"time", "seconds"})) for event in kept]


KILLED = [3.0, 2.0, 2.5, 1.0, 1.5, 1.5, 1.25, 1.5]
