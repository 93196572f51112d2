"""The limits of readers are in one place, and documented."""

from pathlib import Path

from trainbus import limits


def test_every_limit_is_documented() -> None:
    """docs/limits.md names each by its value."""
    page = (Path(__file__).parents[2] / "docs" / "limits.md").read_text()
    named = {name: value for name, value in vars(limits).items() if name.isupper() and name != "MB"}

    assert named
    assert {name for name, value in named.items() if not any(each in page for each in forms(value))} == set()


def forms(value: float) -> set[str]:
    if isinstance(value, float):
        return {f"{value:g}"}
    return {f"{value:,}", f"{value // limits.MB:,} MB" if value % limits.MB == 0 else f"{value:,}"}
