"""Runs in a real TensorBoard while they train."""

import json
import re
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlencode

import pytest

from trainbus.plugins.tensorboard.layouts import LAYOUTS

from .test_resume import checkpoint, train


@contextmanager
def server(folder: str, *options: str) -> Iterator[Any]:
    """A TensorBoard of the directory; yields a function that requests data from it."""
    command = [sys.executable, "-m", "tensorboard.main", f"--logdir={folder}", "--port=0", "--reload_interval=1"]
    with subprocess.Popen(
        [*command, *options], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    ) as process:
        try:
            assert process.stderr is not None
            address = next(found[0] for line in process.stderr if (found := re.search(r"http://\S+", line)))

            def ask(path: str, **query: str) -> Any:
                with urllib.request.urlopen(f"{address}data/{path}?{urlencode(query)}", timeout=60) as answer:
                    return json.load(answer)

            ask.address = address
            yield ask
        finally:
            process.terminate()
            for _ in process.stderr or ():
                pass


def until(get: Any, wanted: Any) -> None:
    """Wait until TensorBoard shows the expected values."""
    end, found = time.monotonic() + 60, None
    while time.monotonic() < end:
        found = get()
        if found == wanted:
            return
        time.sleep(0.1)
    assert found == wanted


@pytest.mark.parametrize(
    ("layout", "options"),
    [
        ("keras", ["--load_fast=true"]),
        pytest.param("slash", ["--load_fast=true"], marks=pytest.mark.exhaustive),
        pytest.param("slash", ["--load_fast=false"], marks=pytest.mark.exhaustive),
    ],
)
@pytest.mark.exhaustive
def test_a_running_tensorboard_follows_a_resumed_run(layout: Any, options: list[str]):
    """It shows every epoch once, even if events that it has shown were removed and written again."""
    main, tag = LAYOUTS[layout].of_epoch("loss")
    train(layout=layout)
    epochs = [*range(6)] if layout == "keras" else [*range(2, 13, 2)]

    with server("logs", *options) as ask:

        def steps() -> Any:
            tags = ask("plugin/scalars/tags").get(main, {})
            return [step for _, step, _ in ask("plugin/scalars/scalars", run=main, tag=tag)] if tag in tags else None

        until(steps, epochs)
        train(layout=layout, resume=checkpoint(3), epochs=5)
        until(steps, epochs[:5])
        train(layout=layout, resume=checkpoint(5), epochs=6)
        until(steps, epochs)
