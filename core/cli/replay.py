"""The commands ``trainbus replay``, ``sweep`` and ``compare``: their options and their output."""

from __future__ import annotations

import argparse
import csv
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainbus import Callback, SettingsError, load

from ..errors import UnknownDirection
from ..metrics.direction import FIX
from .option_values import Axis, parse_options, parse_values

if TYPE_CHECKING:
    from ..replay import Recording

_LIBRARIES = ("trainbus", "keras", "torch", "lightning", "ignite", "hf")  # as in trainbus.replay, which needs NumPy


_AXES = {
    "patience": Axis(int, "1:20 or 2,5,10", ranges=True),
    "min_delta": Axis(float, "0,0.001,0.01"),
    "start_from_epoch": Axis(int, "0,10", ranges=True),
    "baseline": Axis(float, "none,0.5", none=True),
    "smoothing": Axis(str, "'none,ema 0.9,median 5'", none=True),
}
_CALLBACK_OPTIONS = {
    "early_stopping": ("EarlyStopping", "stop early: patience=3,min_delta=0.001"),
    "model_checkpoint": ("ModelCheckpoint", "save models: save_best_only=true or keep=3"),
    "reduce_lr": ("ReduceLROnPlateau", "reduce the learning rate: patience=5,factor=0.5"),
}


_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", *map(chr, (0xFF1D, 0xFF0B, 0xFF0D, 0xFF20)))
"""First characters of formulas; spreadsheets also accept their full-width forms, and white space before them."""


def add_replay(add: Callable[..., argparse.ArgumentParser]) -> None:
    """Add the command ``replay``."""
    parser = add(
        "replay",
        help="print what other settings would have decided on recorded runs",
        description="Print what other settings would have decided on recorded runs. Without settings, print what the "
        "runs decided, and recommend three early stopping policies.",
    )
    _add_common(parser)
    parser.add_argument("--config", metavar="FILE", help="a settings file, such as trainbus.toml")
    for option, (_, words) in _CALLBACK_OPTIONS.items():
        parser.add_argument(_flag(option), action="append", nargs="?", const="", metavar="OPTIONS", help=words)
    parser.set_defaults(command=_in_shell(_replay))


def add_sweep(add: Callable[..., argparse.ArgumentParser]) -> None:
    """Add the command ``sweep``."""
    parser = add(
        "sweep",
        help="try thousands of early stopping policies on recorded runs, and recommend three",
        description="Try every combination of the given values, or of values that suit the runs, and print what each "
        "early stopping policy saves and loses.",
    )
    _add_common(parser)
    for name, axis in _AXES.items():
        parser.add_argument(_flag(name), metavar="VALUES", help=f"values to try: {axis.example}")
    parser.add_argument(
        "--early-stopping",
        metavar="OPTIONS",
        help="options that all policies share: min_delta_mode=rel,stopping_threshold=0.1",
    )
    parser.set_defaults(command=_in_shell(_sweep))


def add_compare(add: Callable[..., argparse.ArgumentParser]) -> None:
    """Add the command ``compare``."""
    parser = add(
        "compare",
        help="print recorded runs side by side, with the settings in which they differ",
        description="Print what each recorded run reached, when, how long it took, and the settings in which the runs "
        "differ: hyperparameters in a journal, and settings files beside a log, such as hparams.yaml. The best first.",
    )
    _add_reading(parser)
    parser.add_argument("--html", metavar="FILE", help="also write an HTML page with the curves in one chart")
    parser.set_defaults(command=_in_shell(_compare))


def _add_common(parser: argparse.ArgumentParser) -> None:
    _add_reading(parser)
    parser.add_argument(
        "--as",
        dest="library",
        choices=_LIBRARIES,
        default="trainbus",
        help="use the rules and options of this library (default: trainbus)",
    )
    parser.add_argument(
        "--runs",
        metavar="NAME",
        help="what runs have in common that depend on each other: folder, seed, or the name of a setting; they are "
        "left out together (default: seed, if it is known)",
    )
    parser.add_argument("--all", action="store_true", help="list every run (default: the first ones)")
    parser.add_argument("--html", metavar="FILE", help="also write an HTML page with curves, frontier and tables")


def _add_reading(parser: argparse.ArgumentParser) -> None:
    """Add which runs are read, by which metric they are judged, and in which form the answer is printed."""
    parser.add_argument(
        "paths", nargs="+", metavar="PATH", help="files of recorded runs, or directories that contain them"
    )
    parser.add_argument(
        "--monitor",
        metavar="NAME",
        help="the metric to monitor (default: the one that the record names, else the one that users of such runs "
        "look at; the output says which and why)",
    )
    parser.add_argument(
        "--mode",
        choices=("auto", "min", "max"),
        default="auto",
        help="whether lower or higher values are better (default: judged by the record or by the metric's name)",
    )
    parser.add_argument(
        "--steps-per-epoch",
        type=int,
        metavar="N",
        help="steps per epoch, for event files without epochs (default: estimated)",
    )
    parser.add_argument(
        "--pattern",
        action="append",
        metavar="REGEX",
        help=r"read plain text: a regular expression such as 'step (?P<step>\d+): val loss (?P<val_loss>\S+)'; may be "
        "repeated for further lines",
    )
    out = parser.add_mutually_exclusive_group()
    out.add_argument("--json", action="store_true", help="print JSON; epochs and validations count from 0")
    out.add_argument(
        "--csv",
        action="store_true",
        help="print CSV, one row for each run or policy; epochs and validations count from 0",
    )


def _in_shell(command: Callable[[argparse.Namespace], int]) -> Callable[[argparse.Namespace], int]:
    """Return the command with errors that name the options of the command line in place of those of Python."""

    def run(options: argparse.Namespace) -> int:
        try:
            return command(options)
        except UnknownDirection as error:
            raise UnknownDirection(str(error).replace(FIX, "give --mode max or --mode min")) from None

    return run


def _flag(option: str) -> str:
    return f"--{option.replace('_', '-')}"


def _called(argument: str) -> str:
    """Return the option of the command line for an argument of ``trainbus.replay.sweep``."""
    return _flag({"fixed": "early_stopping"}.get(argument, argument))


def _replay(options: argparse.Namespace) -> int:
    from .. import replay  # noqa: PLC0415 - only this command needs NumPy
    from ..replay.metric_choice import choose_metric  # noqa: PLC0415
    from ..replay.report.html_page import render_page  # noqa: PLC0415
    from ..replay.report.report import Report  # noqa: PLC0415
    from ..replay.report.text import overview_text, replay_text  # noqa: PLC0415

    recordings = _read(options)
    callbacks = _callbacks(options, by_steps=any(each.by_steps for each in recordings))
    common: dict[str, Any] = {"by": options.library, "monitor": options.monitor, "mode": options.mode}
    # the options on the command line are no live callback, which would monitor val_loss
    named = options.config or options.monitor or all("monitor" in each.model_fields_set for each in callbacks)
    unset = None if named else choose_metric(recordings, mode=options.mode)
    result = replay.replay(recordings, callbacks, unset=unset, **common) if callbacks else None
    if result is not None:
        common |= {"monitor": result.choice.monitor, "mode": result.choice.mode}
    wanted = result is None or options.html or options.runs
    found = replay.sweep(recordings, runs=options.runs, called=_called, **common) if wanted else None
    report = Report(recordings, result, found)
    if options.html:
        _write_page(options.html, render_page(report))
    if result is not None:
        _print(options, result, lambda: replay_text(report, every=options.all))
    else:
        _print(options, found, lambda: overview_text(report, _given(options), every=options.all))
    return 0


def _sweep(options: argparse.Namespace) -> int:
    from .. import replay  # noqa: PLC0415 - only this command needs NumPy
    from ..replay.report.html_page import render_page  # noqa: PLC0415
    from ..replay.report.report import Report  # noqa: PLC0415
    from ..replay.report.text import sweep_text  # noqa: PLC0415

    recordings = _read(options)
    axes: dict[str, Any] = {
        name: parse_values(getattr(options, name), _flag(name), axis) for name, axis in _AXES.items()
    }
    shared = options.early_stopping
    fixed = None if shared is None else parse_options("--early-stopping", shared)
    common: dict[str, Any] = {"by": options.library, "monitor": options.monitor, "mode": options.mode}
    found = replay.sweep(recordings, **axes, fixed=fixed, runs=options.runs, called=_called, **common)
    report = Report(recordings, None, found)
    if options.html:
        _write_page(options.html, render_page(report))
    _print(options, found, lambda: sweep_text(report, every=options.all))
    return 0


def _compare(options: argparse.Namespace) -> int:
    from ..replay import compare  # noqa: PLC0415 - only this command needs NumPy
    from ..replay.report.comparison_page import render_comparison  # noqa: PLC0415
    from ..replay.report.comparison_text import comparison_text  # noqa: PLC0415

    recordings = _read(options)
    found = compare(recordings, monitor=options.monitor, mode=options.mode)
    if options.html:
        _write_page(options.html, render_comparison(recordings, found))
    _print(options, found, lambda: comparison_text(recordings, found))
    return 0


def _read(options: argparse.Namespace) -> list[Recording]:
    from ..replay import read_all  # noqa: PLC0415

    return read_all(
        *options.paths,
        unread=lambda error: print(f"trainbus: left out: {error}", file=sys.stderr),
        steps_per_epoch=options.steps_per_epoch,
        pattern=options.pattern,
    )


def _given(options: argparse.Namespace) -> list[str]:
    """Return the arguments that a further command needs to read the same runs."""
    steps = options.steps_per_epoch
    found = [] if steps is None else ["--steps-per-epoch", f"{steps}"]
    return [*options.paths, *found, *(each for pattern in options.pattern or () for each in ("--pattern", pattern))]


def _print(options: argparse.Namespace, result: Any, text: Callable[[], str]) -> None:
    if options.json:
        print(json.dumps(result.as_data(), indent=1))
    elif options.csv:
        rows = result.as_rows()
        names = dict.fromkeys(name for row in rows for name in row)
        writer = csv.DictWriter(sys.stdout, [*names], lineterminator="\n")
        writer.writeheader()
        writer.writerows({name: _cell(value) for name, value in row.items()} for row in rows)
    else:
        print(text())


def _cell(value: Any) -> Any:
    """Return a value that a spreadsheet shows unchanged, since it would compute a text that looks like a formula."""
    return f"'{value}" if isinstance(value, str) and value.lstrip(" ").startswith(_FORMULA) else value


def _write_page(path: str, page: str) -> None:
    from ..storage.local import LocalBackend  # noqa: PLC0415

    try:
        LocalBackend(Path(path)).replace(page)
    except OSError as error:
        raise SettingsError(f"--html: {path!r} cannot be written: {error.strerror or error}") from None
    print(f"trainbus: wrote {path}", file=sys.stderr)


def _callbacks(options: argparse.Namespace, *, by_steps: bool) -> list[Callback]:
    """Return the callbacks from --config and from the callback options."""
    counter = "step" if by_steps else "epoch"
    found: list[Callback] = list(load(options.config)) if options.config else []
    for option, (name, _) in _CALLBACK_OPTIONS.items():
        texts: Sequence[str] = getattr(options, option) or ()
        found += [_callback(name, _flag(option), text, options.library, counter) for text in texts]
    if options.config and not found:
        raise SettingsError(f"{options.config!r} lists no callbacks")
    return found


def _callback(name: str, option: str, text: str, library: str, counter: str = "epoch") -> Callback:
    from trainbus.plugins import ModelCheckpoint  # noqa: PLC0415 - the core works without the built-in plugins

    from ..replay.libraries.settings import build, build_checkpoints, find_library  # noqa: PLC0415

    given = parse_options(option, text)
    specs = find_library(library)
    try:
        if name == "EarlyStopping":
            return build(specs.stopping.settings, given, specs)
        if name == "ReduceLROnPlateau":
            return build(specs.plateau.settings, given, specs)
        if specs.checkpoints is not None:
            return build_checkpoints(given, specs)
        path = f"checkpoint-{{{counter}}}" if {"keep", "keep_last"} & set(given) else "checkpoint"
        options: dict[str, Any] = {"filepath": path, **given}
        return ModelCheckpoint(**options)
    except SettingsError as error:
        raise SettingsError(f"{option}: {error}") from None
