"""``python -m trainbus`` is the command."""

import subprocess
import sys

import pytest

import trainbus


@pytest.mark.parametrize(
    "arguments",
    [
        ["check", "none.toml"],
        *(
            pytest.param(each, marks=pytest.mark.exhaustive)
            for each in (["--version"], ["--help"], ["demo", "--epochs", "0"])
        ),
    ],
)
def test_the_module_is_the_command(arguments: list[str]) -> None:
    """With the same output and the same exit code."""
    commands = [[sys.executable, "-m", "trainbus"], [f"{sys.prefix}/bin/trainbus"]]
    results = [
        subprocess.run([*command, *arguments], capture_output=True, check=False, timeout=60) for command in commands
    ]
    assert len({(each.returncode, each.stdout, each.stderr) for each in results}) == 1


def test_importing_it_runs_nothing() -> None:
    """Tools that import every module of a package get no command."""
    result = subprocess.run(
        [sys.executable, "-c", "import trainbus.__main__"], capture_output=True, check=False, timeout=60
    )
    assert (result.returncode, result.stdout, result.stderr) == (0, b"", b"")
    assert trainbus.__name__ == "trainbus"
