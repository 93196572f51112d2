"""Names of files of settings."""

from pathlib import Path

import pytest

from trainbus.replay.readers.shared.settings_names import STEMS, is_no_log


@pytest.mark.parametrize("name", [*STEMS, "ARGS.txt", "hyp.yaml", "setup.cfg", "README.md", "run.bat", "a/opt.yml"])
def test_settings_and_documents_are_no_logs(name: str) -> None:
    """By the ending, or by the name with any ending."""
    assert is_no_log(Path(name))


@pytest.mark.parametrize(
    "name", ["train.log", "log.txt", "slurm-12.out", "stdout", "config.d/train.log", "params_a.txt"]
)
def test_logs_may_be(name: str) -> None:
    """The directory, and a longer name, tell nothing."""
    assert not is_no_log(Path(name))
