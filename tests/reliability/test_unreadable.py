"""A payload that has the bytes that its manifest lists, and that its framework cannot read, is skipped."""

import hashlib
import logging
from pathlib import Path
from typing import Any

import pytest

from trainbus import Run, UnreadableCheckpoint
from trainbus.checkpoints import commit, read
from trainbus.plugins import EarlyStopping, ModelCheckpoint

from .subjects import Kind, number_in

SPOILT = {
    "half": lambda whole: whole[: len(whole) // 2],
    "no end": lambda whole: whole[:-40] + bytes(40),
    "a hole": lambda whole: whole[:512] + bytes(len(whole) - 1024) + whole[-512:],
    "nothing": lambda _: b"",
}
UNSUMMED = {".safetensors", ".weights.h5"}
"""Formats without checksums, which load wrong numbers."""


def listed(kind: Kind) -> ModelCheckpoint:
    return ModelCheckpoint(
        f"runs/m-{{epoch}}{kind.suffix}", save_weights_only=kind.weights_only, background=False, save_on=()
    )


def train(kind: Kind, epochs: int = 2) -> list[Path]:
    with Run(kind.subject, listed(kind), verbose=0) as run:
        for epoch in run.epochs(epochs):
            kind.carry(epoch + 1)
            run.log(loss=0.0)
    return [path for path in run.state.files if isinstance(path, Path)]


def spoil(path: Path, how: str) -> None:
    """Damage the file, and write a manifest that calls it intact, as an older version could."""
    content, spoilt = read(path).entry, SPOILT[how](path.read_bytes())
    moment = content.model_dump(exclude={"digest", "size", "parts", "files", "written"})
    commit(path, lambda staged: staged.write_bytes(spoilt), **moment)


def number_of(kind: Kind) -> int | None:
    path = Path(f"now{kind.suffix}")
    kind.save(path)
    return number_in(kind, path)


@pytest.mark.covering(1)
@pytest.mark.parametrize("how", SPOILT)
def test_what_cannot_be_read_is_skipped(kind: Kind, how: str, caplog: pytest.LogCaptureFixture) -> None:
    """The next one is used, for "auto" and for a directory; a file given by name is refused, and nothing changes."""
    if kind.suffix in UNSUMMED and how in ("no end", "a hole"):
        pytest.skip("the format has no checksums")
    older, newest = train(kind)
    spoil(newest, how)
    for source in ("auto", "runs"):
        kind.carry(9)
        caplog.clear()
        with Run(kind.subject, listed(kind), resume=source, verbose=0) as run:
            assert run.resumed is not None
            assert run.resumed.path == older
            assert number_of(kind) == 1
        assert [each.message for each in caplog.records if each.message.startswith(f"skipped: {newest}: ")]
    kind.carry(9)
    with pytest.raises(UnreadableCheckpoint, match=newest.name):
        Run(kind.subject, listed(kind), resume=newest, verbose=0).begin()
    assert number_of(kind) == 9


def test_if_nothing_can_be_read_the_run_starts_from_the_beginning(kind: Kind, caplog: pytest.LogCaptureFixture) -> None:
    """With an unchanged subject, and without a message about files of other callbacks."""
    for path in train(kind):
        spoil(path, "half")
    kind.carry(9)
    with Run(kind.subject, listed(kind), resume="auto", verbose=0) as run:
        assert run.resumed is None
        assert number_of(kind) == 9
    assert any("no checkpoint is intact; the run starts from the beginning" in each.message for each in caplog.records)


def test_what_was_kept_and_cannot_be_read_is_lost(kind: Kind, caplog: pytest.LogCaptureFixture) -> None:
    """A warning reports it, and the run continues from the checkpoint."""
    caplog.set_level(logging.WARNING)
    keeper = EarlyStopping(monitor="loss", patience=9, restore_best_weights=True)
    with Run(kind.subject, [listed(kind), keeper], verbose=0) as run:
        for epoch in run.epochs(3):
            kind.carry(epoch + 1)
            run.log(loss=[1.0, 2.0, 3.0][epoch])
    newest = Path(f"runs/m-3{kind.suffix}")
    content = read(newest).entry
    (slot,) = content.run_state["slots"].values()
    file = newest.parent / slot["file"]
    spoilt = SPOILT["half"](file.read_bytes())
    file.unlink()
    file.write_bytes(spoilt)
    slot["digest"] = hashlib.sha256(spoilt).hexdigest()
    whole, moment = (
        newest.read_bytes(),
        content.model_dump(exclude={"digest", "size", "parts", "files", "written"}),
    )
    commit(newest, lambda staged: staged.write_bytes(whole), **moment)

    kind.carry(9)
    with Run(kind.subject, [listed(kind), keeper], resume="auto", verbose=0) as run:
        assert run.resumed is not None
        assert run.resumed.path == newest
        assert number_of(kind) == 3
    assert any("is lost" in each.message for each in caplog.records)


def test_another_model_is_no_damage(tmp_path: Path) -> None:
    """A file of weights that do not fit is refused, and no older one is used instead."""
    import torch

    from trainbus.adapters.torch import TorchSubject

    def begin(size: int, **options: Any) -> Run:
        return Run(TorchSubject(torch.nn.Linear(size, 1)), ModelCheckpoint("m.pt"), verbose=0, **options)

    with begin(3) as run:
        for _ in run.epochs(1):
            run.log(loss=0.0)
    with pytest.raises(OSError, match="does not fit") as raised:
        begin(4, resume="auto").begin()
    assert not isinstance(raised.value, UnreadableCheckpoint)
