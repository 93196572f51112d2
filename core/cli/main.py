"""The commands of ``trainbus`` and their arguments."""

from __future__ import annotations

import argparse
import importlib.util
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn, cast

from ..errors import CheckpointError, SettingsError, TrainbusError
from ..limits import EPOCHS
from ..metrics.names import hint
from ..settings.built_in import DISTRIBUTION, VERSION
from ..settings.registry import Group, installed, package_of, summary
from ..terminal import ESCAPE_OR_DRAW, plural, printable
from .replay import add_compare, add_replay, add_sweep

_FRAMEWORKS = ("sklearn", "torch", "keras", "lightning", "transformers", "jax", "xgboost", "lightgbm")


class _Parser(argparse.ArgumentParser):
    """A parser that reports an error in one line, with the nearest valid name."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}; see {self.prog} --help\n")

    def parse_known_args(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, args: Any = None, namespace: Any = None
    ) -> Any:
        known, extras = super().parse_known_args(args, namespace)
        if extras:
            wrong = next((each.partition("=")[0] for each in extras if each.startswith("-")), "")
            options = [each for each in self._option_string_actions if each.startswith("--")]
            self.error(f"unrecognized arguments: {' '.join(extras)}{hint(wrong, options, otherwise='')}")
        return known, extras

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is not None and value not in action.choices:
            allowed = [str(choice) for choice in action.choices]
            what = "command" if action.nargs == argparse.PARSER else "value"
            near = hint(str(value), allowed, otherwise="")
            raise argparse.ArgumentError(action, f"unknown {what} {value!r}; choose from {', '.join(allowed)}{near}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: The command and its arguments; by default, the command line of the process.

    Returns:
        The exit code: 0 for success, 1 for a failure, 2 for wrong arguments, 130 for Ctrl-C.

    >>> main(["callbacks"])  # doctest: +ELLIPSIS
    callbacks
      DeviceStats ...
      EarlyStopping ...
    0
    """
    options = _build_parser().parse_args(arguments)
    if hasattr(sys.stdout, "reconfigure"):
        cast("Any", sys.stdout).reconfigure(errors=ESCAPE_OR_DRAW)  # a terminal may use another encoding than Unicode
    try:
        return int(options.command(options))
    except TrainbusError as error:
        print(f"trainbus: {error}", file=sys.stderr)
        return 2 if isinstance(error, ValueError) else 1
    except KeyboardInterrupt:
        print("trainbus: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of the output, such as `head`, has closed it
        sys.stderr.close()
        return 0


def _build_parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="trainbus", description="One list of callbacks for every training loop.")
    parser.add_argument("--version", action="version", version=f"trainbus {VERSION}", help="print the version")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND", parser_class=_Parser)
    json_help = "print JSON; epochs and validations count from 0"

    demo = commands.add_parser(
        "demo", help="train a model on scanned digits with four callbacks, and print what they decide"
    )
    demo.add_argument(
        "--framework",
        choices=_FRAMEWORKS,
        default="sklearn",
        help="the framework that trains the model (default: sklearn)",
    )
    demo.add_argument("--out", default="trainbus-demo", metavar="DIR", help="output directory (default: trainbus-demo)")
    demo.add_argument(
        "--epochs", type=_positive, default=40, metavar="N", help="train for at most N epochs (default: 40)"
    )
    demo.add_argument("--resume", action="store_true", help="continue the run in the output directory, if there is one")
    demo.set_defaults(command=_demo)

    callbacks = commands.add_parser(
        "callbacks", help="list the callbacks, adapters, bindings and plugins, and what they need that is not installed"
    )
    callbacks.set_defaults(command=_callbacks)

    checkpoints = commands.add_parser("checkpoints", help="list the checkpoints in a directory, latest step first")
    checkpoints.add_argument("directory", metavar="DIR", help="a directory, or a URL such as s3://bucket/run")
    checkpoints.add_argument(
        "--verify", action="store_true", help="check the contents of each checkpoint; exit with 1 if one is damaged"
    )
    checkpoints.add_argument("--json", action="store_true", help=json_help)
    checkpoints.set_defaults(command=_checkpoints)

    add_replay(commands.add_parser)
    add_sweep(commands.add_parser)
    add_compare(commands.add_parser)

    explain = commands.add_parser("explain", help="explain what a run decided and why, from its journal")
    explain.add_argument("run_path", metavar="RUN", help="a journal.jsonl file, or a directory that contains one")
    explain.add_argument("--run", type=_positive, metavar="N", help="the N-th run in the journal (default: the last)")
    explain.add_argument("--metric", metavar="NAME", help="the metric to plot (default: the one behind most decisions)")
    explain.add_argument("--json", action="store_true", help=json_help)
    explain.set_defaults(command=_explain)

    check = commands.add_parser("check", help="list every problem in settings files, with its line")
    check.add_argument("files", metavar="FILE", nargs="+", help="a settings file, such as trainbus.toml")
    check.set_defaults(command=_check)

    schema = commands.add_parser("schema", help="print the JSON schema of settings files, or of the journal")
    schema.add_argument(
        "format",
        nargs="?",
        choices=("settings", "journal"),
        default="settings",
        help="the schema to print (default: settings)",
    )
    schema.set_defaults(command=_schema)
    return parser


def _positive(text: str) -> int:
    digits = text.lstrip("0") if text.isdecimal() else ""
    if not digits:
        raise argparse.ArgumentTypeError(f"{text[:40]!r} is not a whole number above 0")
    if len(digits) > len(str(EPOCHS)) or int(digits) > EPOCHS:
        raise argparse.ArgumentTypeError(f"a number of {len(digits):,} digits is too large; the limit is {EPOCHS:,}")
    return int(text)


def _demo(options: argparse.Namespace) -> int:
    from .demo import demo  # noqa: PLC0415 - only this command needs it

    demo(options.framework, options.out, options.epochs, resume=options.resume)
    return 0


def _callbacks(_: argparse.Namespace) -> int:
    groups: tuple[Group, ...] = ("callbacks", "adapters", "bindings", "plugins")
    listed = {group: installed(group) for group in groups}
    width = max(len(name) for points in listed.values() for name in points) + 2
    for group, points in listed.items():
        print(group)
        for name, point in points.items():
            source, framework = package_of(point), group in ("adapters", "bindings")
            if framework and importlib.util.find_spec(name) is None:  # such an entry point has the name of its package
                source += f": needs pip install '{source}[{name}]'" if source == DISTRIBUTION else f": needs {name}"
            print(f"  {name:<{width}}{(summary(point) or point.value).replace('``', '')} [{source}]")
    return 0


def _checkpoints(options: argparse.Namespace) -> int:
    from ..checkpoints import scan  # noqa: PLC0415
    from ..checkpoints.discovery import history_flaws  # noqa: PLC0415
    from ..storage.backend import backend_for  # noqa: PLC0415
    from ..storage.file_kind import kind_of  # noqa: PLC0415
    from ..storage.paths import location  # noqa: PLC0415
    from .checkpoints import as_json, table  # noqa: PLC0415 - only this command needs it

    directory = location(options.directory)
    backend = backend_for(directory)
    try:
        if not backend.is_directory():
            kind = kind_of(directory) if isinstance(directory, Path) else "file" * (backend.size() is not None)
            state = f"is a {kind}" if kind else "does not exist"
            raise SettingsError(f"{str(directory)!r} {state}; give a directory")
    except OSError as error:
        raise CheckpointError(f"{str(directory)!r} cannot be searched for checkpoints: {error}") from error
    found = scan(directory, verify=options.verify)
    histories = history_flaws(found) if options.verify else None
    if options.json:
        print(as_json(found, histories))
    elif found:
        print(table(found, histories))
    else:
        print(f"no checkpoints in {str(directory)!r}")
    return 1 if histories is not None and (histories or any(each.flaw for each in found)) else 0


def _explain(options: argparse.Namespace) -> int:
    from .explain import as_json, explain, read_run  # noqa: PLC0415 - only this command needs it

    run = read_run(Path(options.run_path), options.run)
    print(as_json(run) if options.json else explain(run, options.metric))
    return 0


def _check(options: argparse.Namespace) -> int:
    from ..settings.settings_file import find_problems, load  # noqa: PLC0415 - only this command needs it

    wrong = False
    for file in options.files:
        problems = find_problems(file)
        wrong = wrong or bool(problems)
        for problem in problems:
            print(printable(str(problem)))
        if not problems:
            print(f"{file}: {plural(len(load(file)), 'callback')}, no problem")
    return 2 if wrong else 0


def _schema(options: argparse.Namespace) -> int:
    from .. import journal  # noqa: PLC0415 - only this command needs them
    from ..settings import settings_file as settings  # noqa: PLC0415 - only this command needs them

    print(json.dumps((journal if options.format == "journal" else settings).schema(), indent=2))
    return 0
