"""What is called when a process exits."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import atexit, os
from trainbus.binding.process_exit import call_at_exit

class Says:
    def hello(self):
        print("hello", flush=True)

says = Says()
leave = call_at_exit(says.hello)
{then}
"""
THEN = [
    ("", "hello\n"),
    ("del says", ""),
    ("atexit.unregister(leave)", ""),
    ("if os.fork() == 0:\n    raise SystemExit\nos.wait()", "hello\n"),
]


@pytest.mark.parametrize(("then", "printed"), THEN)
def test_a_method_is_called_once_in_its_process_while_its_object_lives(then: str, printed: str) -> None:
    program = PROGRAM.format(then=then)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == printed
