"""``trainbus replay`` and ``trainbus sweep``."""

from __future__ import annotations

import csv
import io
import json
import math
import re
import shlex
import tomllib
from pathlib import Path

import pytest

from trainbus import callbacks_from, journal
from trainbus.cli import main
from trainbus.plugins import EarlyStopping

LOSSES = [3.0, 2.0, 2.5, 2.6, 1.0, *[1.1] * 15]


@pytest.fixture
def logs() -> str:
    """Two runs, as a CSV logger writes them."""
    for run in ("a", "b"):
        path = Path("logs", run)
        path.mkdir(parents=True)
        lines = [f"{epoch},{loss},{loss * 2},0.1" for epoch, loss in enumerate(LOSSES)]
        (path / "metrics.csv").write_text("\n".join(["epoch,val_loss,loss,lr", *lines, ""]))
    return "logs"


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(arguments) == 0
    return capsys.readouterr().out


def test_without_settings_runs_are_listed_and_three_policies_recommended(
    logs: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The output for a new user has the runs, their best values, and settings to paste."""
    text = printed(capsys, "replay", logs)

    assert "2 runs, 40 epochs" in text
    assert "decided by val_loss, lower is better (the loss on held-out data)" in text
    (row,) = [line for line in text.splitlines() if line.startswith("a ")]
    assert row.split()[:2] == ["a", "20"]
    assert "1 @ 5" in row
    settings = text.split("in trainbus.toml:\n")[1].split("# in Python")[0]
    (pasted,) = callbacks_from(tomllib.loads(settings)["callbacks"])
    code = text.split("# in Python:\n")[1].splitlines()[0]
    assert eval(code, {"EarlyStopping": EarlyStopping}) == EarlyStopping(monitor="val_loss", **_given(pasted))
    assert max(map(len, text.splitlines())) <= 120


def _given(callback: object) -> dict[str, object]:
    assert isinstance(callback, EarlyStopping)
    return {name: value for name, value in callback.model_dump(exclude_unset=True).items() if name != "monitor"}


def test_settings_come_from_a_file_or_from_options(logs: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A file and options give the same result, as text and as JSON."""
    Path("trainbus.toml").write_text('[[callbacks]]\ncallback = "EarlyStopping"\npatience = 2\n')
    by_file = printed(capsys, "replay", logs, "--config", "trainbus.toml", "--json")
    by_option = printed(capsys, "replay", logs, "--early-stopping", "patience=2", "--json")

    same, other = json.loads(by_file), json.loads(by_option)
    assert {**same, "why": "", "notes": []} == {**other, "why": "", "notes": []}
    assert [each["stopped_epoch"] for each in json.loads(by_file)["runs"]] == [3, 3]
    (row,) = [
        line
        for line in printed(capsys, "replay", logs, "--early-stopping", "patience=2").splitlines()
        if line.startswith("a ")
    ]
    assert row.split() == ["a", "20", "4", "2", "@", "2", "1", "@", "5", "1", "16"]


@pytest.fixture
def by_steps() -> str:
    """The journal of a loop by steps."""
    events: list[journal.Event] = [journal.RunStarted(time=0, run="a", subject=None, validate_every=250)]
    events += [
        journal.EpochEnded(
            time=number,
            unit="validation",
            epoch=number,
            step=250 * (number + 1),
            seconds=1,
            metrics={"val_loss": loss + 0.5},
        )
        for number, loss in enumerate(LOSSES)
    ]
    path = Path("steps", "journal.jsonl")
    path.parent.mkdir()
    path.write_text("".join(f"{event.model_dump_json()}\n" for event in events))
    return "steps"


@pytest.mark.parametrize(
    ("options", "stops", "files"),
    [
        (["--early-stopping", "patience=2"], "step 1,000", ""),
        (["--early-stopping", "patience=2", "--model-checkpoint", "keep=1"], "step 1,000", "step 500"),
        (["--early-stopping", "patience=2", "--model-checkpoint", "keep_last=2"], "step 1,000", "step 750 1,000"),
        (["--early-stopping", "patience=2,min_steps=2000"], "step 2,000", ""),
        (["--early-stopping", "patience=2", "--as", "keras"], "step 1,000", ""),
        (["--early-stopping", "patience=2,every=validation", "--reduce-lr", "patience=9"], "step 1,000", ""),
    ],
)
def test_a_loop_by_steps_is_replayed_by_steps(
    by_steps: str, options: list[str], stops: str, files: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing that is printed speaks of epochs; files are named by steps unless the options name them."""
    text = printed(capsys, "replay", by_steps, *options, "--html", "page.html")
    assert "1 run, 20 validations" in text
    (row,) = [line for line in text.splitlines() if line.startswith("steps ")]
    assert stops in row
    assert row.endswith(files)
    page = Path("page.html").read_text()
    assert "epoch" not in text + page.partition("</style>")[2]


OWN = r"i=(?P<{}>\d+)\] quality (?P<quality>\S+)"


@pytest.mark.parametrize(
    ("axis", "stops"),
    [("iteration", "iteration 2,000"), ("timestep", "timestep 2,000"), ("step", "step 2,000"), ("epoch", "2,000")],
)
def test_text_is_read_by_a_pattern(axis: str, stops: str, capsys: pytest.CaptureFixture[str]) -> None:
    """What is printed speaks of what the group of the pattern counts."""
    values = [3.0, 2.0, 1.0, *([2.0] * 20)]
    lines = [f"[i={500 * number + 500}] quality {value}\n" for number, value in enumerate(values)]
    Path("train.out").write_text("".join(lines))
    how = ["--pattern", OWN.format(axis), "--monitor", "quality", "--mode", "min"]
    text = printed(capsys, "replay", "train.out", *how, "--early-stopping", "patience=1", "--html", "page.html")
    (row,) = [line for line in text.splitlines() if line.startswith("train.out ")]
    assert stops in row
    assert "patience counts records" in text
    overview = printed(capsys, "replay", "train.out", *how)
    assert f"trainbus sweep train.out --pattern {shlex.quote(OWN.format(axis))} " in overview  # a command to paste
    data = json.loads(printed(capsys, "replay", "train.out", *how, "--early-stopping", "patience=1", "--json"))
    if axis != "epoch":
        page = Path("page.html").read_text().partition("</style>")[2]
        assert all("epoch" not in each for each in (text, overview, page))
        assert (data["runs"][0]["stopped_record"], data["runs"][0][f"stopped_{axis}"]) == (3, 2000)
        assert data["total"]["records_saved"] == 19


def test_a_wrong_pattern_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    """In one line."""
    Path("train.out").write_text("1\n")
    assert main(["replay", "train.out", "--pattern", "("]) == 2
    assert "the pattern '(' is not a regular expression: missing )" in capsys.readouterr().err


def test_overview_and_sweep_of_a_loop_by_steps_speak_of_validations(
    by_steps: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """As text, CSV, JSON and HTML."""
    few = ["--patience", "1:3"]
    outputs = [
        printed(capsys, "replay", by_steps),
        *(printed(capsys, "sweep", by_steps, *few, *more) for more in ([], ["--csv"])),
        printed(capsys, "replay", by_steps, "--early-stopping", "patience=2", "--csv"),
    ]
    printed(capsys, "sweep", by_steps, *few, "--html", "page.html")
    outputs.append(Path("page.html").read_text().partition("</style>")[2])
    assert not any("epoch" in each for each in outputs)
    data = json.loads(printed(capsys, "sweep", by_steps, *few, "--json"))
    assert "start_from_epoch" not in data["grid"]
    (run,) = json.loads(printed(capsys, "replay", by_steps, "--early-stopping", "patience=2", "--json"))["runs"]
    assert (run["unit"], run["stopped_validation"], run["stopped_step"]) == ("validation", 3, 1000)


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["replay", "--early-stopping", "min_epochs=3"], "EarlyStopping: min_epochs=3: a loop by steps has no epochs"),
        (["replay", "--early-stopping", "start_from_epoch=3", "--as", "keras"], "start_from_epoch=3: .*; leave it out"),
        (["replay", "--early-stopping", "every=2 epochs"], "every='2 epochs': .*; give steps"),
        (["replay", "--model-checkpoint", "filepath=m-{epoch}"], "filepath='m-{epoch}': .*; write {step} in place of"),
        (["sweep", "--start-from-epoch", "0,5"], "--start-from-epoch=5: .* --early-stopping min_steps=500"),
        (["sweep", "--early-stopping", "min_epochs=5"], "min_epochs=5: .*; give min_steps"),
    ],
)
def test_epochs_are_refused_of_a_loop_by_steps(
    by_steps: str, arguments: list[str], problem: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """In one line with what to write."""
    command, *options = arguments
    assert main([command, by_steps, *options]) == 2
    assert re.search(problem, capsys.readouterr().err)


def test_a_mixed_set_has_the_columns_of_both(logs: str, by_steps: str, capsys: pytest.CaptureFixture[str]) -> None:
    """In CSV, a run has empty cells in those of the other unit."""
    text = printed(capsys, "replay", logs, by_steps, "--early-stopping", "patience=2", "--model-checkpoint", "--csv")
    rows = {row["run"]: row for row in csv.DictReader(io.StringIO(text))}
    assert [(rows["a"][name], rows["steps"][name]) for name in ("unit", "stopped_epoch", "stopped_step")] == [
        ("epoch", "validation"),
        ("3", ""),
        ("", "1000"),
    ]
    text = printed(capsys, "replay", logs, by_steps, "--early-stopping", "patience=2", "--model-checkpoint", "keep=2")
    assert "3 runs, 60 epochs and validations" in text
    assert "note: steps: a loop by steps, of which each validation counts as much as an epoch of the others." in text


def test_all_three_callbacks_are_replayed_at_once(logs: str, capsys: pytest.CaptureFixture[str]) -> None:
    """After a cut that the record does not show, everything is marked as hypothetical."""
    options = [
        "--early-stopping",
        "patience=9",
        "--model-checkpoint",
        "save_best_only=true",
        "--reduce-lr",
        "patience=2",
    ]
    text = printed(capsys, "replay", logs, *options)

    (row,) = [line for line in text.splitlines() if line.startswith("a ")]
    assert row.split()[2:4] == ["14", "?"]
    assert "4 (+" in row
    assert "the first cut is exact" in " ".join(text.split())


def test_a_run_that_is_not_stopped_is_censored(logs: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is claimed about epochs after the record."""
    text = printed(capsys, "replay", logs, "--early-stopping", "patience=50")

    assert "Nothing stops 2 runs of 2 up to the last recorded epoch (censored)." in text
    assert "censored: nothing stops the run up to its last recorded epoch; nothing is known after it." in text


@pytest.mark.parametrize(
    "name", ["=1+1", "-2+3", "+cmd", "@SUM(A1)", "-1", " =1", "\uff1d1", '=HYPERLINK("x")', "a=1", "a-b", "'=1"]
)
def test_a_name_is_no_formula_in_a_spreadsheet(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A name of a run comes from its directory, which anybody may have made; numbers stay numbers."""
    path = Path("logs", name)
    path.mkdir(parents=True)
    (path / "metrics.csv").write_text("epoch,loss\n0,-1.5\n1,-0.5\n2,-0.25\n")

    (row,) = csv.DictReader(io.StringIO(printed(capsys, "replay", "logs", "--early-stopping", "patience=2", "--csv")))
    assert row["run"] == (name if name[0] in "a'" else f"'{name}")
    assert row["best_seen"] == "-1.5"


def test_machines_get_a_line_a_run_or_a_line_a_policy(logs: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The output is CSV with a header."""
    of_runs = list(
        csv.DictReader(io.StringIO(printed(capsys, "replay", logs, "--early-stopping", "patience=2", "--csv")))
    )
    of_policies = list(
        csv.DictReader(io.StringIO(printed(capsys, "sweep", logs, "--patience", "1:3", "--min-delta", "0", "--csv")))
    )

    assert [(each["run"], each["stopped_epoch"], each["best_seen_epoch"]) for each in of_runs] == [
        ("a", "3", "4"),
        ("b", "3", "4"),
    ]
    assert {each["patience"] for each in of_policies} == {"1", "2", "3"}
    assert math.isclose(float(of_policies[0]["saved"]), 0.85)


def test_a_library_s_own_words_are_taken_and_given(logs: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A library's options are accepted, and the code to paste is for that library."""
    replayed = ["--as", "lightning", "--early-stopping", "patience=2,check_finite=false", "--json"]
    assert json.loads(printed(capsys, "replay", logs, *replayed))["library"] == "lightning"

    text = printed(capsys, "sweep", logs, "--as", "keras")
    assert 'keras.callbacks.EarlyStopping(monitor="val_loss", mode="min", patience=' in text
    assert "toml" not in text


@pytest.mark.parametrize("library", ["trainbus", "keras", "torch", "lightning", "ignite"])
def test_data_name_a_callback_as_the_user_does(logs: str, library: str, capsys: pytest.CaptureFixture[str]) -> None:
    """In every library by the same name."""
    options = ["--as", library, "--early-stopping", "patience=2", "--reduce-lr", "patience=3", "--model-checkpoint"]
    found = json.loads(printed(capsys, "replay", logs, *options, "--json"))
    names = ["EarlyStopping", "ModelCheckpoint", "ReduceLROnPlateau"]
    assert [each["callback"] for each in found["callbacks"]] == names
    assert [each["patience"] for each in found["callbacks"][::2]] == [2, 3]


def test_a_page_is_written_in_addition_to_the_output(logs: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A page is written with and without settings."""
    for command in (["replay", logs], ["replay", logs, "--early-stopping", "patience=2"], ["sweep", logs]):
        Path("report.html").unlink(missing_ok=True)
        printed(capsys, *command, "--html", "report.html")
        assert Path("report.html").read_text().startswith("<!doctype html>")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["replay", "log"], "'log' does not exist; did you mean 'logs'?"),
        (["replay", "logs", "--early-stopping", "patiance=2"], "patiance: unknown option; did you mean 'patience'?"),
        (["replay", "logs", "--early-stopping", "patience"], "'patience' is not an option; write name=value"),
        (["replay", "logs", "--early-stopping", "patience=1,patience=2"], "patience is given twice; give it once"),
        (["replay", "logs", "--early-stopping", "", "--as", "ignite"], "patience is required"),
        (["replay", "logs", "--reduce-lr", "factor=2"], "factor=2: give a number below 1"),
        (["replay", "logs", "--monitor", "val_los"], "no run logs 'val_los'; did you mean 'val_loss'?"),
        (["replay", "logs", "--monitor", "lr"], "give --mode max or --mode min"),
        (["replay", "logs", "--config", "trainbus.tml"], "trainbus.tml"),
        (["replay", "logs", "--html", "logs", "--early-stopping"], "cannot be written"),
        (["sweep", "logs", "--patience", "1:x"], "'1:x' is not a valid value; separate values with commas; 1:20"),
        (["sweep", "logs", "--patience", "1:99999999"], "more than 10,000 values"),
        (["sweep", "logs", "--patience", "1:5:0"], "'1:5:0' is not a valid value"),
        (["sweep", "logs", "--smoothing", "ema"], 'write "ema 0.9"'),
        (
            ["sweep", "logs", "--as", "ignite", "--baseline", "1"],
            "the EarlyStopping of Ignite 0.5 has no option baseline",
        ),
    ],
)
def test_mistakes_are_refused_with_the_fix(
    logs: str, arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A mistake gives exit code 2 and one line on stderr."""
    assert main(arguments) == 2

    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert sentence in captured.err


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["sweep", "--early-stopping", "every=10 steps"], "--early-stopping: every='10 steps' looks inside epochs"),
        (["sweep", "--early-stopping", "every=1 minute"], "--early-stopping: every='1 minute' looks inside epochs"),
        (["sweep", "--early-stopping", "patiance=1"], "--early-stopping: EarlyStopping: patiance: unknown option"),
        (["sweep", "--early-stopping", "monitor=x"], "no run logs 'x'"),
        (
            ["sweep", "--early-stopping", "patience=3", "--patience", "1:2"],
            "--early-stopping: patience=3: --patience is given as well; leave one of the two out",
        ),
        (
            ["sweep", "--early-stopping", "start_from_epoch=3", "--start-from-epoch", "0"],
            "--early-stopping: start_from_epoch=3: --start-from-epoch is given as well",
        ),
        (
            ["sweep", "--early-stopping", "monitor=val_loss", "--monitor", "loss"],
            "--early-stopping: monitor='val_loss': --monitor is given as well",
        ),
        (["sweep", "--patience=-1"], "--patience=-1: give a number of at least 0"),
        (["sweep", "--smoothing", "ema"], "--smoothing='ema': write"),
        (
            ["sweep", "--as", "keras", "--early-stopping", "min_delta_mode=rel"],
            "--early-stopping: EarlyStopping of Keras 3.15: min_delta_mode: unknown option; did you mean 'min_delta'?",
        ),
        (
            ["replay", "--as", "keras", "--early-stopping", "min_delta_mode=rel"],
            "--early-stopping: EarlyStopping of Keras 3.15: min_delta_mode: unknown option; did you mean 'min_delta'?",
        ),
        (
            ["replay", "--as", "lightning", "--early-stopping", "cumulative_delta=false"],
            "--early-stopping: EarlyStopping of Lightning 2.6: cumulative_delta: unknown option",
        ),
        (
            ["replay", "--as", "torch", "--reduce-lr", "min_delta_mode=relative"],
            "--reduce-lr: ReduceLROnPlateau of PyTorch 2.13: min_delta_mode='relative': give",
        ),
        (
            ["replay", "--as", "ignite", "--early-stopping", "patience=1,min_delta=-2"],
            "--early-stopping: EarlyStopping of Ignite 0.5: min_delta=-2: give a number of at least 0",
        ),
        (
            ["replay", "--as", "keras", "--reduce-lr", "threshold=1"],
            "--reduce-lr: ReduceLROnPlateau of Keras 3.15: threshold: unknown option",
        ),
    ],
)
def test_a_message_names_what_the_user_has_written(
    logs: str, arguments: list[str], problem: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The option of the command line, and its options by the names that were given."""
    command, *options = arguments
    assert main([command, logs, *options]) == 2
    assert capsys.readouterr().err.startswith(f"trainbus: {problem}")


@pytest.mark.parametrize(
    "given", ["min_steps=5", "every=validation", "every=validation,min_steps=1", "patience=1,min_steps=9"]
)
@pytest.mark.parametrize("command", ["text", "json", "html"])
def test_a_note_on_a_shared_option_names_the_option_of_the_command_line(
    logs: str, given: str, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """In each kind of output."""
    options = {"text": [], "json": ["--json"], "html": ["--html", "page.html"]}[command]
    text = printed(capsys, "sweep", logs, "--early-stopping", given, *options)
    text = Path("page.html").read_text() if command == "html" else text
    assert text.count("--early-stopping: ") == given.count("every") + given.count("min_steps")
    assert "fixed" not in text


def test_a_sweep_of_which_no_policy_is_within_a_limit_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    """In place of the limit, in one line; also in HTML and JSON."""
    losses = [3, 2, 1.5, 1.4, 1.5, 1.6, 1.7, 1.3, 1.5, 1.6, 1.61, 1.62, 1.63, 1.64]
    Path("logs").mkdir()
    Path("logs", "metrics.csv").write_text(
        "epoch,val_loss\n" + "".join(f"{n},{each}\n" for n, each in enumerate(losses))
    )
    options = ["sweep", "logs", "--early-stopping", "divergence_threshold=1.55"]
    lines = printed(capsys, *options, "--html", "page.html").splitlines()
    words = ": no policy loses nothing in any of these runs; this one loses least"
    assert [line for line in lines if line.startswith("careful") and line.endswith(words)]
    assert max(map(len, lines)) <= 120
    assert "no policy loses nothing in any of these runs" in Path("page.html").read_text()
    advice = json.loads(printed(capsys, *options, "--json"))["recommendations"]
    assert {name: each["within_limit"] for name, each in advice.items()} == dict.fromkeys(advice, False)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["replay", "logs", "--early-stoping", "patience=2"], "did you mean '--early-stopping'?"),
        (["sweep", "logs", "--patients", "2"], "did you mean '--patience'?"),
        (["replay", "logs", "--as", "tourch"], "did you mean 'torch'?"),
        (["replay"], "the following arguments are required: PATH"),
    ],
)
def test_unknown_options_are_refused_with_the_nearest(
    arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A wrong option gives exit code 2 and one line, before anything is read."""
    with pytest.raises(SystemExit) as raised:
        main(arguments)

    captured = capsys.readouterr()
    assert (raised.value.code, captured.out, captured.err.count("\n")) == (2, "", 1)
    assert sentence in captured.err


HUGE = ["9" * 20, "9" * 400, "9" * 5000, "0x" + "f" * 30, "-" + "9" * 20]


@pytest.mark.parametrize("value", HUGE, ids=[each[:8] for each in HUGE])
@pytest.mark.parametrize(
    ("option", "name"),
    [
        ("--reduce-lr", "cooldown"),
        ("--reduce-lr", "patience"),
        ("--early-stopping", "patience"),
        ("--early-stopping", "start_from_epoch"),
        ("--model-checkpoint", "keep"),
    ],
)
def test_a_huge_number_is_refused_in_one_line(
    logs: str, capsys: pytest.CaptureFixture[str], option: str, name: str, value: str
) -> None:
    """As an option, and in a settings file, where each number has its line."""
    assert main(["replay", logs, option, f"{name}={value}"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"{name}=" in line
    assert len(line) < 500
    kinds = {"--reduce-lr": "ReduceLROnPlateau", "--early-stopping": "EarlyStopping"}
    path = '\nfilepath = "m-{epoch}"' if option == "--model-checkpoint" else ""
    Path("a.toml").write_text(
        f'[[callbacks]]\ncallback = "{kinds.get(option, "ModelCheckpoint")}"{path}\n{name} = {value}'
    )
    assert main(["replay", logs, "--config", "a.toml"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "a.toml" in line


@pytest.mark.parametrize("library", ["trainbus", "keras", "torch", "lightning", "ignite"])
def test_the_longest_options_never_act(logs: str, capsys: pytest.CaptureFixture[str], library: str) -> None:
    """The largest numbers that are options, also beyond those of the arrays inside."""
    longest = 2**63 - 1
    printed(capsys, "replay", logs, "--as", library, "--early-stopping", f"patience={longest}")
    printed(capsys, "replay", logs, "--as", library, "--reduce-lr", f"patience={longest}")
    printed(capsys, "sweep", logs, "--as", library, "--patience", f"2,{2**31},{longest}")


def test_compare_prints_the_runs_side_by_side(logs: str, capsys: pytest.CaptureFixture[str]) -> None:
    """As a table, as JSON, as CSV and as a page, with the settings that differ."""
    for name, rate in (("a", 0.1), ("b", 0.2)):
        Path(logs, name, "args.json").write_text(json.dumps({"rate": rate, "seed": 1}))
    text = printed(capsys, "compare", logs, "--html", "page.html")
    (row,) = [line for line in text.splitlines() if line.startswith("b ")]
    assert row.split() == ["b", "1", "5", "20", "1.1", "0.2"]
    assert "<svg" in Path("page.html").read_text()
    data = json.loads(printed(capsys, "compare", logs, "--json"))
    assert (data["settings"], data["runs"][0]["settings"]) == (["rate"], {"rate": 0.1})
    first, _ = csv.DictReader(io.StringIO(printed(capsys, "compare", logs, "--csv", "--monitor", "loss")))
    assert (first["run"], first["best"], first["settings.rate"]) == ("a", "2.0", "0.1")


@pytest.mark.parametrize("command", ["replay", "sweep"])
def test_runs_that_depend_on_each_other_are_grouped(
    logs: str, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """By a setting of theirs; with settings of one's own, too, and on a page."""
    for name in ("a", "b"):
        Path(logs, name, "args.json").write_text(json.dumps({"model": {"depth": 3}}))
    text = printed(capsys, command, logs, "--runs", "depth", "--html", "page.html")
    assert "group of runs with the same depth" in " ".join(text.split())
    assert "Groups of runs by depth" in Path("page.html").read_text()
    options = ["--early-stopping", "patience=2"] * (command == "replay")
    assert ["3", "2"] in [
        line.split()[:2] for line in printed(capsys, command, logs, "--runs", "depth", *options).splitlines()
    ]
    assert main([command, logs, "--runs", "dept"]) == 2
    assert "--runs='dept': no run has this setting" in capsys.readouterr().err


def test_an_error_about_the_direction_names_the_option_of_the_command_line(
    logs: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Not the argument of Python."""
    for command in ("replay", "sweep", "compare"):
        assert main([command, logs, "--monitor", "lr"]) == 2
        error = capsys.readouterr().err
        assert "give --mode max or --mode min" in error
        assert "mode=" not in error


def test_settings_that_stop_nothing_are_answered_by_what_they_do(logs: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Cuts and files in place of what a stop saves; the picture marks the cuts."""
    cuts = printed(capsys, "replay", logs, "--reduce-lr", "patience=2")
    assert "saves" not in cuts.split("run  ")[0]
    assert re.search(r"It cuts the learning rate \d+ times, in 2 of 2 runs.", cuts)
    assert "C cut of the learning rate in 4" in cuts
    kept = printed(capsys, "replay", logs, "--model-checkpoint", "keep=3")
    assert "At the end of a run, the models of 3 epochs are kept." in kept
