"""A process whose plugin fails ends as it should: by its exit code, and after the end hooks of every other plugin."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from trainbus.hooks import HOOKS

TRAININGS = """
import json, os, sys
from pathlib import Path
from trainbus import Run, decision, hookimpl
from trainbus.hooks import HOOKS
from trainbus.testing import LineSubject

class Healthy:
    def record(self, hook):
        with open(self.file, "a") as file:
            file.write(hook + "\\n")

class Failing:
    def record(self, hook):
        if hook == self.hook:
            raise ValueError("as the test wants it")

class Saves:
    @hookimpl
    def on_epoch_end(self):
        return decision.save("fine.npz") | decision.save("taken/best.npz", on_error="warn")

def method(hook):
    return hookimpl(lambda self: self.record(hook))

for kind in (Healthy, Failing):
    for hook in HOOKS:
        setattr(kind, hook, method(hook))

def train(name, hook, critical):
    healthy, failing = Healthy(), Failing()
    healthy.file, failing.hook, failing.critical = name, hook, critical
    with Run(LineSubject(), [Saves(), failing, healthy], verbose=0) as run:
        for epoch in run.epochs(2):
            for _ in run.batches("a"):
                run.log(loss=1.0)
            with run.validation():
                run.log(loss=2.0)
            if epoch == 1 and name.startswith("crash"):
                raise KeyError("of the loop")

for end, hooks in (("well", HOOKS), ("crash", ("on_exception", "on_train_end"))):
    for policy in ("critical", "observer"):
        for hook in ("none", *hooks):
            name = f"{end}-{policy}-{hook}"
            if os.fork() == 0:
                Path(name).mkdir()
                os.chdir(name)
                Path("taken").touch()
                os.dup2(os.open("stderr", os.O_WRONLY | os.O_CREAT), 2)
                train(f"{end}.calls", hook, policy == "critical")
                sys.exit()
            print(json.dumps([name, os.waitstatus_to_exitcode(os.wait()[1])]), flush=True)
"""


CASES = [*(("well", hook) for hook in HOOKS), ("crash", "on_exception"), ("crash", "on_train_end")]


class Ended:
    """How one process has ended."""

    def __init__(self, name: str, code: int) -> None:
        (calls,) = Path(name).glob("*.calls")
        self.code, self.calls = code, calls.read_text().splitlines()
        self.error = (Path(name) / "stderr").read_text().splitlines()


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Ended]:
    """Every training of the script: each policy and each hook that may raise; after the loop's error the last two."""
    folder = tmp_path_factory.mktemp("trainings")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        done = subprocess.run([sys.executable, "-c", TRAININGS], check=True, capture_output=True, text=True)
        return {name: Ended(name, code) for name, code in map(json.loads, done.stdout.splitlines())}


@pytest.mark.parametrize(("end", "hook"), CASES)
@pytest.mark.exhaustive
def test_a_failing_observer_changes_no_exit_code(end: str, hook: str, ended: dict[str, Any]) -> None:
    """The others are called as without it, the end once, and the process exits as the training alone would."""
    undisturbed, one = ended[f"{end}-observer-none"], ended[f"{end}-observer-{hook}"]

    assert one.calls == undisturbed.calls
    assert one.calls.count("on_train_end") == 1
    assert one.code == undisturbed.code == (end == "crash")
    raised = hook in undisturbed.calls
    assert any(line.startswith(f"Failing in {hook}: ValueError: as the test wants it") for line in one.error) == raised


@pytest.mark.parametrize(("end", "hook"), CASES)
@pytest.mark.exhaustive
def test_a_failing_critical_plugin_ends_the_process_with_its_error(end: str, hook: str, ended: dict[str, Any]) -> None:
    """The exit code is not zero, the last lines name error, hook and plugin, and the others get the end once."""
    undisturbed, one = ended[f"{end}-critical-none"], ended[f"{end}-critical-{hook}"]

    assert one.calls.count("on_train_end") == 1
    if hook not in undisturbed.calls:  # a training that ends well has no exception to report
        assert (one.calls, one.code) == (undisturbed.calls, undisturbed.code)
        return
    assert one.code == 1
    first = hook not in ("on_exception", "on_train_end") or end == "well"  # otherwise the loop's own error came first
    assert one.calls.count("on_exception") == 1
    assert one.error[-2:] == (
        ["ValueError: as the test wants it", f"raised in {hook} by the plugin 'Failing'"]
        if first
        else ["KeyError: 'of the loop'", "at the end of the run also: ValueError: as the test wants it"]
    )
