"""Journals, recorded runs, settings files and manifests beyond the limits: one clear line, and little memory."""

import base64
import hashlib
import json
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainbus import CheckpointError, Run, limits
from trainbus.checkpoints import commit, read
from trainbus.cli import main
from trainbus.plugins import ModelCheckpoint
from trainbus.resume.serialization import decompress_log, from_json_data
from trainbus.testing import LineSubject

from .crafted import outcome_of

BEGIN = {"event": "begin", "time": 1.0, "run": "r", "version": 1, "subject": None}
END = {"event": "end", "time": 2.0, "outcome": "finished", "reason": "x", "epochs": 1, "step": 1, "seconds": 1.0}


def epoch(number: Any, **metrics: Any) -> dict[str, Any]:
    metrics = metrics or {"val_loss": 1.0}
    return {"event": "epoch", "time": 1.0, "epoch": number, "step": 1, "seconds": 1.0, "metrics": metrics}


def journal(*events: Any) -> str:
    return "".join(f"{each if isinstance(each, str) else json.dumps(each)}\n" for each in (BEGIN, *events))


def table(*values: Any, header: str = "epoch,val_loss") -> str:
    return "\n".join([header, *(f"{number},{value}" for number, value in enumerate(values)), ""])


def wide(count: int) -> str:
    names, cells = ",".join(f"m{number}" for number in range(count)), ",".join(["0.5"] * count)
    return f"epoch,{names}\n0,{cells}\n1,{cells}\n"


def settings(value: str) -> str:
    return f'[[callbacks]]\ncallback = "EarlyStopping"\npatience = {value}\n'


FILES: dict[str, tuple[str, Callable[[], str | bytes], str]] = {
    "epoch 10**30": ("a.jsonl", lambda: journal(epoch(0), epoch(10**30)), "line 3: epoch: input should be less"),
    "epoch -5": ("a.jsonl", lambda: journal(epoch(-5)), "line 2: epoch: input should be greater"),
    "step 10**40": ("a.jsonl", lambda: journal({**epoch(0), "step": 10**40}), "line 2: step"),
    "endless seconds": ("a.jsonl", lambda: journal(epoch(0), {**END, "seconds": "Infinity"}), "line 3: seconds"),
    "1e308 seconds": ("a.jsonl", lambda: journal(epoch(0), {**END, "seconds": 1e308}), "line 3: seconds"),
    "a year of 10**300": ("a.jsonl", lambda: journal({**epoch(0), "time": 1e300}), "line 2: time"),
    "an unknown action": (
        "a.jsonl",
        lambda: journal(
            {**epoch(0), "event": "decision", "actions": [{"kind": "erase", "by": "", "reason": ""}]}, epoch(0)
        ),
        "line 2: actions.0.kind",
    ),
    "10**5 digits": ("a.jsonl", lambda: journal(epoch(0), '{"epoch":' + "9" * 10**5 + "}", epoch(1)), "line 3"),
    "deep JSON": ("a.jsonl", lambda: journal(epoch(0), "[" * 10**5, epoch(1)), "line 3"),
    "zeros in the middle": ("a.jsonl", lambda: journal(epoch(0), "\0\0\0", epoch(1)), "line 3"),
    "a line of 5 MB": ("a.jsonl", lambda: journal(epoch(0, **{"x" * 5_000_000: 1.0})), "line 2: it has 5,000"),
    "a long name in a journal": ("a.jsonl", lambda: journal(epoch(0, **{"x" * 2_000: 1.0})), "of 2,000 characters"),
    "many metrics in a journal": (
        "a.jsonl",
        lambda: journal(epoch(0, **{f"m{number}": 1.0 for number in range(120_000)})),
        "has 120,000 metrics",
    ),
    "110,000 columns": ("a.csv", lambda: wide(110_000), "metrics; the limit is 100,000"),
    "a line of 3 MB": ("a.csv", lambda: table("1" * 3_000_000), "one line has more than"),
    "a cell of 200,000 digits": ("a.csv", lambda: table("9" * 200_000, 1), "field larger than"),
    "a long name in a table": ("a.csv", lambda: table(1, 2, header="epoch," + "x" * 1_001), "of 1,001 characters"),
    "deep lists": ("a.json", lambda: '{"loss": [1.0, ' + "[" * 10**5 + "]" * 10**5 + "]}", "is damaged"),
    "digits in JSON": ("a.json", lambda: '{"loss": [1.0, ' + "9" * 10**5 + "]}", "is damaged"),
    "120,000 lists": (
        "a.json",
        lambda: json.dumps({f"m{number}" if number else "loss": [1.0, 2.0] for number in range(120_000)}),
        "has 120,000 metrics",
    ),
    "a patience of 5,000 digits": ("a.toml", lambda: settings("9" * 5_000), "a.toml:3: the line has 5,011 characters"),
    "a key of 5,000 parts": ("a.toml", lambda: "a." * 5_000 + "b = 1\n", "a.toml:1: the line has 10,005"),
    "settings of 1 MB": ("a.toml", lambda: "# a\n" * 250_000, "has 1,000,000 bytes"),
    "deep settings": ("a.toml", lambda: "a = " + "[\n" * 5_000, "nested too deeply"),
    "zeros in settings": ("a.toml", lambda: settings("\0"), "a.toml:3"),
    "bytes in settings": ("a.toml", lambda: b"\xff\xfe", "not UTF-8"),
}


def commands(path: str) -> list[list[str]]:
    if path.endswith(".toml"):
        return [["check", path]]
    return [["replay", path], *([["explain", path]] if path.endswith("l") else [])]


def run(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """Run a command; return what it printed, in which there may be no warning and no traceback."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        code = main(arguments)
    printed = capsys.readouterr()
    assert code in (0, 1, 2)
    return printed.out + printed.err


@pytest.mark.parametrize("case", FILES)
def test_beyond_a_limit_there_is_one_line(case: str, capsys: pytest.CaptureFixture[str]) -> None:
    """It names the file, or the run, and the limit."""
    name, content, reason = FILES[case]
    text = content()
    Path(name).write_bytes(text if isinstance(text, bytes) else text.encode())
    arguments = commands(name)[0]

    found = run(arguments, capsys)
    assert reason in found
    assert len(found.splitlines()) == 1, found
    assert len(found) < 1_000


@pytest.mark.parametrize("place", ["/dev/zero", "/dev/full", "fifo"])
def test_a_journal_that_is_no_file_is_refused(place: str, capsys: pytest.CaptureFixture[str]) -> None:
    if place == "fifo":
        __import__("os").mkfifo(place)
    Path("journal.jsonl").symlink_to(place)

    for arguments in commands("journal.jsonl"):
        found = run(arguments, capsys)
        assert "journal.jsonl" in found
        assert len(found.splitlines()) == 1


@pytest.mark.parametrize("values", [(1.7e308, -1.7e308, 5.0), (-1.7e308, 1.7e308), (1e308,) * 3, (1e300, -1e300, 0.0)])
@pytest.mark.parametrize("form", ["a.jsonl", "a.csv"])
def test_the_largest_values_are_replayed_and_plotted(
    values: tuple[float, ...], form: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Values beyond the limit are infinities; a note counts them."""
    events = [epoch(number, val_loss=value) for number, value in enumerate(values)]
    Path(form).write_text(journal(*events) if form.endswith("l") else table(*values))

    for arguments in [*commands(form), ["replay", form, "--early-stopping", "patience=1", "--html", "page.html"]]:
        found = run(arguments, capsys)
        assert "val_loss" in found
    beyond = sum(abs(value) > limits.LARGEST for value in values)
    assert not beyond or f"{beyond} values beyond 1e+300 are read as infinities" in run(["replay", form], capsys)


EVENTS = st.one_of(
    st.builds(
        epoch,
        st.integers(-2, 2) | st.sampled_from([2**53, 2**53 + 1, 10**25, 2.5, "1", None]),
        val_loss=st.floats() | st.sampled_from(["NaN", "Infinity", 1.7e308, None, "x", [1]]),
    ),
    st.builds(lambda value: {**END, "seconds": value}, st.floats() | st.sampled_from(["Infinity", 1e308, -1, 10**30])),
    st.text(max_size=5),
    st.sampled_from(["{}", "[]", "[" * 300, '{"event":"begin"}', "\0", json.dumps(BEGIN)]),
)


@given(events=st.lists(EVENTS, max_size=5))
def test_any_journal_is_explained_and_replayed_or_refused(events: list[Any]) -> None:
    """No event of any kind is a traceback, or a warning."""
    Path("a.jsonl").write_text(journal(*events))
    for arguments in commands("a.jsonl"):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert main(arguments) in (0, 1, 2)


@given(
    cells=st.lists(
        st.lists(
            st.sampled_from(["", "1", "-1", "1e300", "-1.7e308", "9" * 400, "nan", "\0", '"', "2**3", "1e999"]),
            max_size=4,
        ),
        max_size=6,
    )
)
def test_any_table_is_replayed_or_refused(cells: list[list[str]]) -> None:
    Path("a.csv").write_text("\n".join(["epoch,val_loss,loss", *(",".join(row) for row in cells), ""]))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert main(["replay", "a.csv"]) in (0, 1, 2)


# --- manifests


def array(**changes: Any) -> dict[str, Any]:
    return {"$": "array", "type": "<f8", "shape": [1], "value": base64.b64encode(bytes(8)).decode(), **changes}


def packed(size: int) -> str:
    return base64.b85encode(zlib.compress(bytes(size), 9)).decode()


STATES: dict[str, Any] = {
    "a shape of 10**12": array(shape=[10**12]),
    "a shape of 10**12 by 0": array(shape=[10**12, 1]),
    "a negative shape": array(shape=[-1]),
    "a shape of text": array(shape="x"),
    "an array of objects": array(type="|O"),
    "an array of no type": array(type="nothing"),
    "an array of large items": array(type="|V1000000000"),
    "a bomb": {"$": "bytes", "zlib": True, "value": packed(30_000_000)},
    "half a stream": {"$": "bytes", "zlib": True, "value": packed(100)[:10]},
    "no stream": {"$": "bytes", "zlib": True, "value": "abcde"},
    "no value": {"$": "bytes"},
    "an unknown mark": {"$": "x" * 10_000},
    "a mapping by a list": {"$": "mapping", "value": [[[1], 2]]},
    "a number of 5,000 digits": {"$": "float", "value": "x"},
}


@pytest.mark.parametrize("case", STATES)
def test_a_state_that_declares_more_than_it_holds_is_refused(case: str) -> None:
    with pytest.raises(ValueError, match=r".") as raised:
        from_json_data({"state": [STATES[case]]})
    assert len(str(raised.value)) < 300


def test_a_log_that_unpacks_without_end_is_refused() -> None:
    text = base64.b64encode(zlib.compress(b"1\n" * 30_000_000, 9)).decode()
    with pytest.raises(ValueError, match=r"unpack to more than 16,"):
        decompress_log(text)


def train(epochs: int = 2, **options: Any) -> Run:
    with Run(LineSubject(), ModelCheckpoint("runs/m-{epoch}.npz"), verbose=0, **options) as run:
        for _ in run.epochs(epochs):
            run.log(loss=0.0)
    return run


def log(*items: Any) -> str:
    return base64.b64encode(zlib.compress("".join(f"{json.dumps(each)}\n" for each in items).encode())).decode()


DAMAGED: dict[str, dict[str, Any]] = {
    "known epochs": {"known_epochs": [[0, {"loss": array(shape=[10**12])}]]},
    "epoch": {"known_epochs": [[10**30, {}]]},
    "action": {"decision": [{"action": "Erase", "path": "x"}]},
    "field": {"decision": [{"action": "Stop", "reason": "", "by": "", "nothing": 1}]},
    "generators": {"rank_state": {"rng": array(shape=[10**12])}},
}


OF_ANOTHER_KIND: dict[str, dict[str, Any]] = {
    "epochs": {"epochs_recorded": -1},
    "history": {"history": "!"},
    "length": {"history": {"file": "trainbus.history-1-1.jsonl", "length": -1, "digest": ""}},
    "records": {"history": {"records": 5}},
    "places": {"places": {"x": 5}},
}
DAMAGED |= OF_ANOTHER_KIND


@pytest.mark.parametrize("case", DAMAGED)
def test_a_resume_passes_over_a_manifest_with_such_a_state(case: str) -> None:
    """Though its digest fits: the next older checkpoint is used. An unknown action is refused by its name."""
    train()
    newest = Path("runs/m-2.npz")
    entry, content = read(newest).entry, newest.read_bytes()
    Path("runs/.trainbus-end.json").unlink()
    moment = entry.model_dump(exclude={"digest", "size", "parts", "files", "written"})
    moment["run_state"] = {**moment["run_state"], **DAMAGED[case]}
    commit(newest, lambda staged: staged.write_bytes(content), **moment)

    def resume() -> None:
        resumed = train(resume="auto").resumed
        assert resumed is not None
        assert resumed.path == Path("runs/m-1.npz")

    refused = {"action": "unknown action 'Erase'; known actions: ", "field": "the action 'Stop' has no field 'nothing'"}
    outcome = outcome_of(resume)
    assert refused[case] in outcome if case in refused else outcome == "a value"


@pytest.mark.parametrize("case", OF_ANOTHER_KIND)
def test_a_state_of_another_kind_in_the_named_file_is_refused_in_one_line(case: str) -> None:
    with pytest.raises(CheckpointError, match=r"runs/m-2.npz") as raised:
        resumed_with(OF_ANOTHER_KIND[case], source="runs/m-2.npz")
    assert "\n" not in str(raised.value)


HISTORIES: dict[str, bytes] = {
    "an epoch of 10**30": b'["epoch",1%s,{}]' % (b"0" * 30),
    "an epoch of text": b'["epoch","0",{}]',
    "a negative epoch": b'["decision",-1,[]]',
    "an array of 10**12": json.dumps(["epoch", 0, {"loss": array(shape=[10**12])}]).encode(),
    "no metrics": b'["epoch",0,5]',
    "nothing": b'["epoch"]',
    "no record": b"5",
    "no JSON": b"\xff{",
    "nested without end": b'["epoch",0,' + b"[" * 100_000,
    "a number of 5,000 digits": b'["epoch",' + b"1" * 5_000 + b",{}]",
    "back to infinity": b'["back",1e999]',
    "back to text": b'["back","x"]',
    "an unknown action": b'["decision",0,[{"action":"Erase","path":"x"}]]',
    "no action": b'["decision",0,[5]]',
    "a path of a number": b'["written",5,5]',
    "itself before it": b'["before",{"file":"trainbus.history-1-1.jsonl","length":9,"digest":"0"}]',
    "another file before it": b'["before",{"file":"../trainbus.history-1-1.jsonl","length":9,"digest":"0"}]',
    "a text before it": b'["before","x"]',
}


def resumed_with(changed: dict[str, Any], history: bytes = b"", source: str = "auto") -> Run:
    """Train two epochs, change the state in the newest manifest, add a history, and resume."""
    train()
    Path("runs/trainbus.history-1-1.jsonl").write_bytes(history)
    newest = Path("runs/m-2.npz")
    entry, content = read(newest).entry, newest.read_bytes()
    Path("runs/.trainbus-end.json").unlink()
    moment = entry.model_dump(exclude={"digest", "size", "parts", "files", "written"})
    moment["run_state"] = {**moment["run_state"], **changed}
    commit(newest, lambda staged: staged.write_bytes(content), **moment)
    return train(resume=source)


@pytest.mark.parametrize("case", HISTORIES)
def test_a_resume_goes_on_without_a_history_that_cannot_be_read(case: str, caplog: pytest.LogCaptureFixture) -> None:
    """Though its digest fits: one line tells it, and the manifest has all that decisions need."""
    content = HISTORIES[case] + b"\n"
    reference = {"file": "trainbus.history-1-1.jsonl", "length": len(content)}

    run = resumed_with({"history": {**reference, "digest": hashlib.sha256(content).hexdigest()}}, content)

    lines = [each for each in caplog.messages if "the history before epoch 3 is missing" in each]
    assert len(lines) == 1
    assert "move it together" not in lines[0]
    assert len(lines[0]) < 400
    assert "\n" not in lines[0]
    assert (run.resumed.epoch if run.resumed else None, run.result.epochs) == (1, 2)
    assert run.history["loss"] == [0.0, 0.0], "the first with this value, and the last"


@pytest.mark.parametrize("declared", [limits.HISTORY_BYTES + 1, 10**30])
def test_a_history_beyond_the_limit_is_not_read(declared: int, caplog: pytest.LogCaptureFixture) -> None:
    """In a process that has no memory for it."""

    def resume() -> None:
        resumed_with({"history": {"file": "trainbus.history-1-1.jsonl", "length": declared, "digest": "0"}})
        lines = [each for each in caplog.messages if "the history before epoch 3 is missing" in each]
        assert ["at most 1,000,000,000" in each for each in lines] == [True]

    assert outcome_of(resume) == "a value"


def test_a_history_that_grew_beyond_the_limit_is_read_and_followed_by_another() -> None:
    content = b'["epoch",0,{"loss":5.0}]\n["epoch",1,{"loss":6.0}]\n'
    digest = hashlib.sha256(content).hexdigest()
    run = resumed_with(
        {"history": {"file": "trainbus.history-1-1.jsonl", "length": len(content), "digest": digest}}, content
    )
    assert run.history["loss"] == [5.0, 6.0]
    Path("runs/.trainbus-end.json").unlink()
    with Path("runs/trainbus.history-1-1.jsonl").open("r+b") as file:
        file.truncate(limits.HISTORY_BYTES + 1)

    def resume() -> None:
        assert train(resume="auto", epochs=3).history["loss"] == [5.0, 6.0, 0.0]
        assert train(resume="auto", epochs=4).history["loss"] == [5.0, 6.0, 0.0, 0.0]
        assert "trainbus.history-1-1" not in Path("runs/trainbus.m-3.npz.json").read_text()

    assert outcome_of(resume) == "a value"


ENDS: dict[str, dict[str, Any]] = {
    "history": {"history": log([0, {"loss": array(shape=[10**12])}])},
    "bomb": {"history": base64.b64encode(zlib.compress(bytes(30_000_000), 9)).decode()},
    "text": {"history": "!"},
    "decisions": {"decision_log": log([0, [5]])},
}


@pytest.mark.parametrize("case", ENDS)
def test_a_record_of_an_end_with_such_data_is_skipped(case: str) -> None:
    train()
    record = Path("runs/.trainbus-end.json")
    record.write_text(json.dumps({**json.loads(record.read_text()), **ENDS[case]}))

    assert outcome_of(lambda: train(resume="auto")) == "a value"
