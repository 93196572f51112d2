"""Commits for tests."""

from pathlib import Path

from trainbus.checkpoints import commit


def put(path: Path, text: str, number: int) -> None:
    """Commit a content that contains its own number, with a run state that has the same number."""
    commit(path, lambda staged: staged.write_text(text), epoch=number, step=number, run_state={"text": text})
