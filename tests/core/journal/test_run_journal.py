"""Reading a journal returns what was written, and reports damage in one line."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainbus import JournalError
from trainbus.journal import (
    ActionRecord,
    DecisionMade,
    EpochEnded,
    Event,
    RunEnded,
    RunResumed,
    RunStarted,
    parse,
    read,
)

numbers = st.floats() | st.integers(-5, 5).map(float)
values = st.dictionaries(
    st.text(min_size=1), st.booleans() | st.integers() | st.floats() | st.none() | st.just("val_loss")
)
actions = st.builds(ActionRecord, kind=st.sampled_from(["stop", "save"]), by=st.text(), reason=st.text(), values=values)
counted = {"time": st.floats(0, 1e10), "epoch": st.integers(0, 99), "step": st.integers(0, 999)}
events = st.one_of(
    st.builds(EpochEnded, **counted, seconds=st.floats(0, 9), metrics=st.dictionaries(st.text(), numbers)),
    st.builds(DecisionMade, **counted, actions=st.lists(actions, max_size=3).map(tuple)),
)
BEGAN = RunStarted(time=1.0, run="a", subject=None)


def lines(written: list[Event]) -> bytes:
    return b"".join(event.model_dump_json().encode() + b"\n" for event in written)


def same(found: Any, wanted: Any) -> bool:
    """Equal, a NaN being equal to a NaN."""
    return repr(found) == repr(wanted)


@given(st.lists(events, max_size=5))
def test_what_is_written_comes_back(tmp_path_factory: pytest.TempPathFactory, written: list[Event]) -> None:
    """Every event is one line of strict JSON, and reads as what it was, numbers that are not finite included."""
    path = tmp_path_factory.mktemp("written") / "journal.jsonl"
    path.write_bytes(lines([BEGAN, *written]))

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    for line in path.read_text(encoding="utf-8").split("\n")[:-1]:
        json.loads(line, parse_constant=refuse)
    assert same(list(read(path)[0].events), [BEGAN, *written])


@given(st.lists(events, min_size=1, max_size=3), st.data())
def test_a_journal_that_was_cut_anywhere_still_reads(
    tmp_path_factory: pytest.TempPathFactory, written: list[Event], data: st.DataObject
) -> None:
    """After its first complete line, a journal that ends at any byte has every event whose text is complete."""
    path = tmp_path_factory.mktemp("cut") / "journal.jsonl"
    complete = lines([BEGAN, *written])
    first = len(lines([BEGAN]))
    length = data.draw(st.integers(first, len(complete)))
    zeros = data.draw(st.integers(0, 3))
    path.write_bytes(complete[:length] + b"\0" * zeros)

    ends = [len(lines([BEGAN, *written[: number + 1]])) for number in range(len(written))]
    expected = [event for end, event in zip(ends, written, strict=True) if end - 1 <= length]

    assert same(list(read(path)[0].events), [BEGAN, *expected])


def test_a_resume_makes_void_what_its_run_wrote_after_the_checkpoint_and_nothing_else(tmp_path: Path) -> None:
    """Events of other runs in the file stay valid, and so do those from before the checkpoint."""

    def epoch(number: int) -> EpochEnded:
        return EpochEnded(time=0.0, epoch=number, step=number, seconds=1.0, metrics={"loss": float(number)})

    other = RunStarted(time=1.0, run="b", subject=None)
    kept = [BEGAN, epoch(0)]
    resumed = RunResumed(time=2.0, run="a", subject=None, checkpoint="m", epochs=1, step=0, length=len(lines(kept)))
    path = tmp_path / "journal.jsonl"
    path.write_bytes(lines([*kept, epoch(1), other, epoch(7), resumed, epoch(1), epoch(2)]))

    first, second = read(path)

    assert list(first.events) == [*kept, resumed, epoch(1), epoch(2)]
    assert (first.void, second.void) == (1, 0)
    assert list(second.events) == [other, epoch(7)]
    assert [each.epoch for each in first.epochs] == [0, 1, 2]
    assert len(list(parse(path))) == 8


DAMAGED = {
    "empty": (b"", "is empty"),
    "foreign": (b"# a text\nand more\n", "is not a journal of trainbus"),
    "bytes": (b"\xff\xfe\0\x80\n\n", "is not a journal of trainbus"),
    "json": (b'{"epoch": 1}\n', "is not a journal of trainbus"),
    "headless": (lines([EpochEnded(time=0.0, epoch=0, step=0, seconds=0.0, metrics={})]), "its first event is 'epoch'"),
    "torn within": (lines([BEGAN]) + b'{"time":\n' + lines([BEGAN]), "is damaged in line 2: invalid json"),
    "wrong within": (
        lines([BEGAN]) + b'{"event":"end"}\n' + lines([BEGAN]),
        "is damaged in line 2: time: field required",
    ),
    "wrong at the end": (lines([BEGAN]) + b'{"event":"end"}\n', "is damaged in line 2: time: field required"),
    "later": (lines([BEGAN]).replace(b'"version":1', b'"version":2'), "written by a later trainbus; upgrade"),
}


@pytest.mark.parametrize(("content", "why"), DAMAGED.values(), ids=DAMAGED)
def test_a_file_that_is_not_a_journal_is_refused_in_one_line(tmp_path: Path, content: bytes, why: str) -> None:
    """Whatever a file holds, the error names the file, what is wrong, and nothing of the parser."""
    path = tmp_path / "journal.jsonl"
    path.write_bytes(content)

    with pytest.raises(JournalError) as refused:
        read(path)

    assert why in str(refused.value)
    assert str(path) in str(refused.value)
    assert len(str(refused.value).splitlines()) == 1


def test_a_file_that_cannot_be_read_is_reported_with_its_reason(tmp_path: Path) -> None:
    """A directory, or nothing, in place of the file."""
    for path, why in ((tmp_path, "directory"), (tmp_path / "none", "No such file")):
        with pytest.raises(JournalError, match=why):
            read(path)


def test_the_end_is_only_the_end_of_the_last_part_of_a_run(tmp_path: Path) -> None:
    """A run that was resumed after its end, and killed then, has none."""
    end = RunEnded(time=1.0, outcome="finished", reason="", epochs=0, step=0, seconds=1.0)
    resumed = RunResumed(time=2.0, run="a", subject=None, checkpoint="m", epochs=0, step=0, length=10**6)
    path = tmp_path / "journal.jsonl"

    path.write_bytes(lines([BEGAN, end]))
    assert read(path)[0].end == end

    path.write_bytes(lines([BEGAN, end, resumed]))
    assert read(path)[0].end is None
