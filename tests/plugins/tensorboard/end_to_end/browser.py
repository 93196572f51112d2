"""A headless Chromium that a test drives through its DevTools protocol, over a pipe: nothing else is needed."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

__all__ = ["Browser", "browser"]

PROGRAM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

needs_browser = pytest.mark.skipif(PROGRAM is None, reason="no Chromium is installed: apt-get install chromium")

OPTIONS = [
    "--headless=new",
    "--no-sandbox",  # root has none
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-extensions",
    "--no-first-run",
    "--hide-scrollbars",
    "--force-prefers-reduced-motion",
    "--window-size=1280,800",
    "--remote-debugging-pipe",
]

DEEP = """
const inside = (each) => each.shadowRoot || each.contentDocument;
const deep = (selector, root = document) => {
  const found = [...root.querySelectorAll(selector)];
  for (const each of root.querySelectorAll('*'))
    if (inside(each)) found.push(...deep(selector, inside(each)));
  return found;
};
const text = (root) => {
  if (root.nodeType === Node.TEXT_NODE) return root.textContent;
  if (['STYLE', 'SCRIPT', 'TEMPLATE', 'NOSCRIPT'].includes(root.nodeName)) return '';
  return [...(inside(root) ? inside(root).childNodes : []), ...root.childNodes].map(text).join(' ');
};
const words = (selector) => deep(selector).map(each => text(each).replace(/\\s+/g, ' ').trim());
"""
"""Helpers of every script: elements by selector, their texts, also in shadow roots and frames."""


class Browser:
    """One page of a running Chromium."""

    def __init__(self, reading: int, writing: int) -> None:
        self._reading, self._writing = reading, writing
        self._buffer = b""
        self._number = 0
        target = self._ask("Target.createTarget", {"url": "about:blank"})["targetId"]
        self._session = self._ask("Target.attachToTarget", {"targetId": target, "flatten": True})["sessionId"]
        self._ask("Page.enable")

    def open(self, address: str) -> None:
        """Open a page; ``until`` waits for its content."""
        self._ask("Page.navigate", {"url": "about:blank"})  # an address that differs only behind its # loads nothing
        self._ask("Page.navigate", {"url": address})

    def run(self, script: str) -> Any:
        """Return the value of a JavaScript expression, which may use ``deep``, ``text`` and ``words``."""
        expression = f"(() => {{ {DEEP} return ({script}); }})()"
        found = self._ask("Runtime.evaluate", {"expression": expression, "returnByValue": True, "awaitPromise": True})
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def until(self, script: str, seconds: float = 60) -> Any:
        """Wait until the expression is true."""
        end = time.monotonic() + seconds
        while not (found := self._try(script)):
            if time.monotonic() > end:
                shown = self.run("text(document.body).replace(/\\s+/g, ' ').slice(0, 2000)")
                raise AssertionError(f"never true: {script}\nthe page shows: {shown}")
            time.sleep(0.1)
        return found

    def _try(self, script: str) -> Any:
        try:
            return self.run(script)
        except AssertionError:  # the page is not there yet
            return None

    def screenshot(self, path: Path, **clip: float) -> None:
        """Write a screenshot of the page as a PNG."""
        options = {"format": "png", **({"clip": {"scale": 1, **clip}} if clip else {})}
        path.write_bytes(base64.b64decode(self._ask("Page.captureScreenshot", options)["data"]))

    def _ask(self, method: str, params: Any = None) -> Any:
        self._number += 1
        message = {"id": self._number, "method": method, "params": params or {}}
        if hasattr(self, "_session"):
            message["sessionId"] = self._session
        os.write(self._writing, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._receive()
            if answer.get("id") == self._number:
                assert "error" not in answer, (method, answer["error"])
                return answer["result"]

    def _receive(self) -> Any:
        while b"\0" not in self._buffer:
            more = os.read(self._reading, 1 << 20)
            assert more, "Chromium has ended"
            self._buffer += more
        message, _, self._buffer = self._buffer.partition(b"\0")
        return json.loads(message)


@contextmanager
def browser() -> Iterator[Browser]:
    """Run a separate Chromium with an empty profile, until the block ends."""
    with ExitStack() as stack:
        profile = stack.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True))
        command_in, command_out = os.pipe()
        answer_in, answer_out = os.pipe()
        for each in (command_out, answer_in):
            stack.callback(os.close, each)
        # Chromium reads its commands from file 3 and answers on file 4
        script = f'exec "$@" 3<&{command_in} 4>&{answer_out}'
        command = ["bash", "-c", script, "bash", PROGRAM, *OPTIONS, f"--user-data-dir={profile}"]
        process = subprocess.Popen(
            command, pass_fds=(command_in, answer_out), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        os.close(command_in)
        os.close(answer_out)
        stack.callback(process.wait)
        stack.callback(process.kill)
        yield Browser(answer_in, command_out)
