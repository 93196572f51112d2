"""A plugin that decides loads its state, or the resume ends with what to do; an observer continues without it."""

from pathlib import Path
from typing import Any

import pytest

from trainbus import CheckpointError, SettingsError
from trainbus.failures import Failures
from trainbus.resume.plugins.state_loading import load_states
from trainbus.resume.serialization import to_json_data
from trainbus.resume.state import PluginState


class Counter:
    """Counts, or raises an error instead of loading."""

    def __init__(self, error: Exception | None = None, *, critical: bool = True) -> None:
        self.count, self.error, self.critical = 0, error, critical

    def state_dict(self) -> dict[str, Any]:
        return {"count": self.count}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        if self.error is not None:
            raise self.error
        self.count = state["count"]


def load(failures: Failures | None = None, **plugins: object) -> None:
    """Load a state of three counts into each plugin."""
    states = {name: PluginState(name=name, state_dict=to_json_data({"count": 3})) for name in plugins}
    load_states(states, plugins, failures or Failures(), Path("m.npz"))


def test_each_plugin_gets_its_state() -> None:
    """One that keeps none now is left out."""
    one, other = Counter(), Counter(critical=False)
    load(one=one, other=other, stateless=object())

    assert (one.count, other.count) == (3, 3)


def test_a_plugin_without_a_saved_state_is_left_as_it_is() -> None:
    plugin = Counter()
    load_states({"one": PluginState(name="one")}, {"one": plugin, "new": Counter()}, Failures(), Path("m.npz"))

    assert plugin.count == 0


@pytest.mark.parametrize(
    "error", [KeyError("count"), ValueError("no\n  count"), TypeError("x" * 5000), OSError(28, "full"), MemoryError()]
)
def test_a_plugin_that_decides_ends_the_resume(error: Exception) -> None:
    """In one line that names the file, the plugin and what to do."""
    with pytest.raises(CheckpointError, match=r"^'m.npz' has a state of one that its load_state_dict refuses: ") as why:
        load(one=Counter(error))

    message = str(why.value)
    assert message.endswith("resume from another checkpoint, or correct that method if it refuses all of them")
    assert "\n" not in message
    assert type(error).__name__ in message
    assert len(message) < 1000
    assert error.__notes__ == ["raised in load_state_dict by the plugin 'one'"]


def test_an_error_of_trainbus_is_raised_as_it_is() -> None:
    error = SettingsError("patience: raise it")
    with pytest.raises(SettingsError) as why:
        load(one=Counter(error))

    assert why.value is error


def test_an_observer_that_cannot_load_is_reported() -> None:
    """The plugins after it are loaded."""
    failures, after = Failures(), Counter()
    load(failures, observer=Counter(KeyError("count"), critical=False), after=after)

    assert [(each.plugin, each.hook) for each in failures.all] == [("observer", "load_state_dict")]
    assert after.count == 3
