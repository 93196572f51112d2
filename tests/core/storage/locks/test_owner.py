"""The record of a lock's owner says which process it is, and whether it is dead."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainbus.storage.locks.file_lock import FileLock
from trainbus.storage.locks.owner import LARGEST, LAST_PROCESS, Owner

LINES = st.text(st.characters(exclude_characters="\n\r\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029", exclude_categories=["Cs"]))


@given(st.builds(
    Owner, LINES.map(str.strip), st.integers(1, LAST_PROCESS), LINES, LINES, LINES, LINES, LINES, LINES,
))  # fmt: skip
def test_a_record_is_read_as_it_was_written(owner: Owner) -> None:
    assert Owner.parse(str(owner)) == owner


@given(st.text())
def test_any_text_is_a_record_of_some_owner(text: str) -> None:
    """Of one that this machine cannot check, if a field is damaged."""
    found = Owner.parse(text)

    assert found.number >= 0
    assert isinstance(found.is_dead, bool)
    assert isinstance(found.patterns, list)


@pytest.mark.parametrize("number", ["0", "-1", str(2**31), str(10**30), "7.5", ""])
def test_a_number_that_no_process_has_is_unknown(number: str) -> None:
    """The system would take some of them for a group of processes."""
    own = Owner.this()
    found = Owner.parse(str(own).replace(f"\n{own.number}\n", f"\n{number}\n", 1))

    assert (found.number, found.is_dead) == (0, False)


def test_a_process_that_has_ended_is_dead() -> None:
    code = "from trainbus.storage.locks.owner import Owner; print(Owner.this(), end='')"
    text = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout

    assert Owner.parse(text).is_dead


def test_this_process_lives_and_holds_what_it_has_not_released() -> None:
    lock = FileLock(Path("lock"))
    assert (lock.owner.number, lock.owner.is_dead) == (os.getpid(), False)
    lock.release()

    assert lock.owner.is_dead


@pytest.mark.parametrize("count", [1, 9, 500])
def test_the_patterns_of_a_record_fit(count: int) -> None:
    """Too many are recorded by their depth alone."""
    patterns = [(f"{number}*", "x" * 40) for number in range(count)]
    owner = Owner.this(patterns)

    assert len(str(owner)) < LARGEST
    assert owner.patterns == (sorted(patterns) if count < 100 else [("*", "*")])
