"""The number of files that one epoch runs through, and of lines of code.

    python -m tests.benchmarks.structure

Two epochs are profiled in one process: one that cuts the learning rate, and one that saves a checkpoint. Counted are
the files of trainbus that are entered, without ``plugins/``, ``trainbus.testing`` and the code of hooks, which
represent user code; and the deepest stack of frames in any file of trainbus. A line of code is one that bears
a token which is neither a comment nor a docstring.
"""

from __future__ import annotations

import ast
import sys
import tempfile
import tokenize
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

import trainbus
from trainbus import Run
from trainbus.plugins import EarlyStopping, ModelCheckpoint, ReduceLROnPlateau
from trainbus.testing import LineSubject

ROOT = Path(__file__).parents[2]
ROOMS = ("core", "adapters", "plugins")
PACKAGE = Path(trainbus.__file__).parent
LOSSES = {"save": (3.0, 2.0, 1.0), "cut": (1.0, 2.0, 3.0)}
"""The losses of three epochs, of which the second is profiled: it improves, or it does not."""


class Passage(NamedTuple):
    """The files and calls of one epoch."""

    calls: int
    files: tuple[str, ...]
    depth: int


def passage(work: Callable[[], object]) -> Passage:
    """Profile ``work``; return the calls of trainbus, the files that they enter, and the deepest stack of them."""
    calls: Counter[str] = Counter()
    depth = deepest = 0

    def watch(frame: FrameType, event: str, _: Any) -> None:
        nonlocal depth, deepest
        path = Path(frame.f_code.co_filename)
        if event not in ("call", "return") or PACKAGE not in path.parents:
            return
        depth += 1 if event == "call" else -1
        deepest = max(deepest, depth)
        name = path.relative_to(PACKAGE).as_posix()
        if event == "call" and not name.startswith(("plugins/", "testing/")):
            calls[name] += 1

    sys.setprofile(watch)
    try:
        work()
    finally:
        sys.setprofile(None)
    return Passage(calls.total(), tuple(sorted(calls)), deepest)


def epoch(what: str) -> Passage:
    """Profile the second of three epochs, which saves or cuts the learning rate."""
    with tempfile.TemporaryDirectory() as folder:
        callbacks = [
            EarlyStopping(monitor="loss", patience=2),
            ReduceLROnPlateau(monitor="loss", patience=1),
            ModelCheckpoint(f"{folder}/best", monitor="loss", save_best_only=True),
        ]
        with Run(LineSubject(), callbacks, verbose=0) as run:
            losses = LOSSES[what]
            for number in run.epochs(len(losses)):
                run.log(loss=losses[number])
                if number == 0:
                    break
            run.end_epoch()

            def second() -> None:
                run.begin_epoch(1)
                run.log(loss=losses[1])
                run.end_epoch()

            return passage(second)


def code_lines(path: Path) -> int:
    """Return the number of lines that contain code."""
    docstrings: set[int] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            docstrings |= set(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    silent = (tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER)
    lines: set[int] = set()
    with path.open("rb") as file:
        for token in tokenize.tokenize(file.readline):
            if token.type not in (*silent, tokenize.ENCODING):
                lines |= set(range(token.start[0], token.end[0] + 1))
    return len(lines - docstrings)


def main() -> None:
    """Print the figures."""
    for what in LOSSES:
        calls, files, depth = epoch(what)
        print(f"an epoch that {what}s: {calls} calls, {len(files)} files, {depth} frames deep")
        if "-v" in sys.argv:
            print("  " + "\n  ".join(files))
    files = [path for room in ROOMS for path in sorted((ROOT / room).rglob("*.py"))]
    lengths = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in files}
    folders = Counter(path.parent for path in files if not path.name.startswith("__"))
    fullest, most = folders.most_common(1)[0]
    longest = max(lengths, key=lambda path: lengths[path])
    print(f"lines of code: {sum(map(code_lines, files)):,} in {len(files)} files")
    print(f"the fullest folder: {fullest.relative_to(ROOT)} with {most} files (without __init__.py and __main__.py)")
    print(f"the longest file: {longest.relative_to(ROOT)} with {lengths[longest]} lines")


if __name__ == "__main__":
    main()
