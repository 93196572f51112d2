"""Commits for tests."""

from pathlib import Path

from trainbus.checkpoints import commit


def put(path: Path, text: str, number: int) -> None:
    """Commit a content that says which one it is, with a run state that says the same."""
    commit(path, lambda staged: staged.write_text(text), epoch=number, step=number, run_state={"text": text})
