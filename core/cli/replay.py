"""The commands `trainbus replay` and `trainbus sweep`: their options, and what they print."""

from __future__ import annotations

import argparse
import csv
import json
import sys
import tomllib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..callback import Callback
from ..errors import SettingsError

if TYPE_CHECKING:
    from ..replay import Recording

__all__ = ["add_replay", "add_sweep"]

MOST = 10_000
"""Values of one axis that a range may have."""
LIBRARIES = ("trainbus", "keras", "torch", "lightning", "ignite")
OPTIONS = {
    "early_stopping": ("EarlyStopping", "stop early: patience=3,min_delta=0.001"),
    "model_checkpoint": ("ModelCheckpoint", "save models: save_best_only=true or keep=3"),
    "reduce_lr": ("ReduceLROnPlateau", "reduce the learning rate: patience=5,factor=0.5"),
}


def add_replay(add: Callable[..., argparse.ArgumentParser]) -> None:
    """Add the command `replay`."""
    parser = add(
        "replay",
        help="tell what other settings would have done to recorded runs: where to stop, what is saved, what is lost",
        description="What other settings would have done to recorded runs. Without settings: what the runs did, and "
        "three ways to stop early that are recommended for them.",
    )
    _add_common(parser)
    parser.add_argument("--config", metavar="FILE", help="a settings file: trainbus.toml")
    for option, (_, words) in OPTIONS.items():
        parser.add_argument(
            f"--{option.replace('_', '-')}",
            dest=option,
            action="append",
            nargs="?",
            const="",
            metavar="OPTIONS",
            help=words,
        )
    parser.add_argument("--all", action="store_true", help="every run, however many there are")
    parser.set_defaults(command=_replay)


def add_sweep(add: Callable[..., argparse.ArgumentParser]) -> None:
    """Add the command `sweep`."""
    parser = add(
        "sweep",
        help="try thousands of ways to stop early on recorded runs, and recommend three",
        description="Every combination of the values that are given, or of some that suit the runs: what each way to "
        "stop early saves and what it loses.",
    )
    _add_common(parser)
    for name, example in (
        ("patience", "1:20 or 2,5,10"),
        ("min_delta", "0,0.001,0.01"),
        ("start_from_epoch", "0,10"),
        ("baseline", "none,0.5"),
        ("smoothing", "'none,ema 0.9,median 5'"),
    ):
        parser.add_argument(
            f"--{name.replace('_', '-')}", dest=name, metavar="VALUES", help=f"values to try: {example}"
        )
    parser.set_defaults(command=_sweep)


def _add_common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "paths", nargs="+", metavar="PATH", help="files and directories with runs, whatever wrote them down"
    )
    parser.add_argument(
        "--monitor", metavar="NAME", help="the metric that decides (default: val_loss, or the likeliest)"
    )
    parser.add_argument("--mode", choices=("auto", "min", "max"), default="auto", help="which way it improves")
    parser.add_argument(
        "--as",
        dest="library",
        choices=LIBRARIES,
        default="trainbus",
        help="by whose rules (default: trainbus); options are then those of that library",
    )
    parser.add_argument(
        "--steps-per-epoch",
        dest="steps_per_epoch",
        type=int,
        metavar="N",
        help="training steps of an epoch, for event files that do not tell it (default: guessed)",
    )
    out = parser.add_mutually_exclusive_group()
    out.add_argument("--json", action="store_true", help="for machines; epochs count from 0")
    out.add_argument("--csv", action="store_true", help="a line for each run, or for each policy; epochs count from 0")
    parser.add_argument("--html", metavar="FILE", help="also write a page of its own: curves, frontier, tables")


def _replay(options: argparse.Namespace) -> int:
    from .. import replay  # noqa: PLC0415 - only this command needs NumPy
    from ..replay.report.text import overview, replay_text  # noqa: PLC0415

    recordings = _read(options)
    callbacks = _callbacks(options)
    common: dict[str, Any] = {"by": options.library, "monitor": options.monitor, "mode": options.mode}
    result = replay.replay(recordings, callbacks, **common) if callbacks else None
    found = None
    if result is None or options.html:
        chosen = result.choice if result is not None else None
        metric: dict[str, Any] = {"monitor": chosen.monitor, "mode": chosen.mode} if chosen is not None else {}
        found = replay.sweep(recordings, **{**common, **metric})
    if options.html:
        _write_page(options, recordings, result, found)
    if result is not None:
        _print(options, result, lambda: replay_text(recordings, result, every=options.all))
    elif found is not None:
        _print(options, found, lambda: overview(recordings, found, options.paths, every=options.all))
    return 0


def _sweep(options: argparse.Namespace) -> int:
    from .. import replay  # noqa: PLC0415 - only this command needs NumPy
    from ..replay.report.text import sweep_text  # noqa: PLC0415

    recordings = _read(options)
    found = replay.sweep(
        recordings,
        patience=_values(options.patience, "patience", _integer, ranges=True),
        min_delta=_values(options.min_delta, "min-delta", _float),
        start_from_epoch=_values(options.start_from_epoch, "start-from-epoch", _integer, ranges=True),
        baseline=_values(options.baseline, "baseline", _float, none=True),
        smoothing=_values(options.smoothing, "smoothing", str, none=True),
        by=options.library,
        monitor=options.monitor,
        mode=options.mode,
    )
    if options.html:
        _write_page(options, recordings, None, found)
    _print(options, found, lambda: sweep_text(recordings, found))
    return 0


def _read(options: argparse.Namespace) -> list[Recording]:
    from ..replay import read_all  # noqa: PLC0415

    return read_all(
        *options.paths,
        unread=lambda error: print(f"trainbus: left out: {error}", file=sys.stderr),
        steps_per_epoch=options.steps_per_epoch,
    )


def _print(options: argparse.Namespace, result: Any, text: Callable[[], str]) -> None:
    if options.json:
        print(json.dumps(result.as_data(), indent=1))
    elif options.csv:
        rows = result.as_rows()
        writer = csv.DictWriter(sys.stdout, list(rows[0]) if rows else [], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    else:
        print(text())


def _write_page(options: argparse.Namespace, recordings: Sequence[Recording], result: Any, found: Any) -> None:
    from ..replay.report.html_page import page  # noqa: PLC0415
    from ..storage.atomic_file import replace_text  # noqa: PLC0415

    try:
        replace_text(Path(options.html), page(recordings, result, found))
    except OSError as error:
        raise SettingsError(f"--html: {options.html!r} cannot be written: {error.strerror or error}") from None
    print(f"trainbus: wrote {options.html}", file=sys.stderr)


# --- settings


def _callbacks(options: argparse.Namespace) -> list[Callback]:
    """What --config and the three options of callbacks say."""
    from ..settings.settings_file import load  # noqa: PLC0415

    found: list[Callback] = list(load(options.config)) if options.config else []
    for option, (name, _) in OPTIONS.items():
        flag = f"--{option.replace('_', '-')}"
        found += [_callback(name, flag, text, options.library) for text in getattr(options, option) or ()]
    if options.config and not found:
        raise SettingsError(f"{options.config!r} lists no callbacks")
    return found


def _callback(name: str, option: str, text: str, library: str) -> Callback:
    from ..replay.library_settings import library as library_of  # noqa: PLC0415
    from ..replay.library_settings import made  # noqa: PLC0415

    given = _options_in(option, text)
    whose = library_of(library)
    try:
        if name == "EarlyStopping":
            return made(whose.stops.settings, given)
        if name == "ReduceLROnPlateau":
            return made(whose.plateaus.settings, given)
        from trainbus.plugins import ModelCheckpoint  # noqa: PLC0415 - the core stands without the built-ins

        path = "checkpoint-{epoch}" if {"keep", "keep_last"} & set(given) else "checkpoint"
        options: dict[str, Any] = {"filepath": path, **given}
        return ModelCheckpoint(**options)
    except SettingsError as error:
        raise SettingsError(f"{option}: {error}") from None


def _options_in(option: str, text: str) -> dict[str, Any]:
    """Options as a shell can write them: patience=3,monitor=val_loss.

    >>> _options_in("--early-stopping", "patience=3,min_delta=1e-3,monitor=val_loss,restore_best_weights=true")
    {'patience': 3, 'min_delta': 0.001, 'monitor': 'val_loss', 'restore_best_weights': True}
    """
    found: dict[str, Any] = {}
    for part in filter(None, (each.strip() for each in text.split(","))):
        name, equals, value = part.partition("=")
        if not equals:
            raise SettingsError(f"{option}: {part!r} is no option; write name=value, as in patience=3,min_delta=0.001")
        if name.strip() in found:
            raise SettingsError(f"{option}: {name.strip()} is given twice")
        found[name.strip()] = _value(value.strip())
    return found


def _value(text: str) -> Any:
    """What TOML, Python or a shell would call a value; anything else is text."""
    spoken = {"true": True, "false": False, "none": None, "null": None}
    if text.lower() in spoken:
        return spoken[text.lower()]
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _values(
    text: str | None, option: str, kind: Callable[[str], Any], *, none: bool = False, ranges: bool = False
) -> list[Any] | None:
    """The values of one axis: with commas between, and where `ranges` also first:last or first:last:step."""
    if text is None:
        return None
    found: list[Any] = []
    for part in (each.strip() for each in text.split(",")):
        try:
            if none and part.lower() == "none":
                found.append(None)
            elif ranges and ":" in part:
                first, last, step = (*(int(each) for each in part.split(":")), 1)[:3]
                if (last - first) // step >= MOST:
                    raise SettingsError(f"--{option}: {part!r} has more than {MOST:,} values; give fewer")
                found += range(first, last + 1, step)
            else:
                found.append(kind(part))
        except SettingsError:
            raise
        except (ValueError, TypeError, ZeroDivisionError):
            way = ", or 1:20 for all from 1 to 20" if ranges else ""
            raise SettingsError(f"--{option}: {part!r} is no value; write values with commas between{way}") from None
    return found


def _integer(text: str) -> int:
    return int(text)


def _float(text: str) -> float:
    return float(text)
