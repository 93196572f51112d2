"""The events that a loop emits, and the plugins that listen to them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from types import NoneType
from typing import Any, NamedTuple

from ..decision import NOTHING, Decision
from ..errors import LoopError, SettingsError
from ..failures import Failures, add_plugin_note, is_observer
from ..hooks import EVENT_ARGUMENTS, EVERY_EVENT, EventFilter, event_listeners
from ..metrics.names import nearest
from .run_state import RunState


class _Listener(NamedTuple):
    """A method of a plugin that listens to an event."""

    plugin: str
    observes: bool
    hears: EventFilter
    method: Callable[..., Any]
    arguments: tuple[str, ...]
    """The names of its arguments."""
    required: tuple[str, ...]
    """Those without a default."""


class Events:
    """Calls the plugins that listen to an event, and counts how often each event was emitted.

    Args:
        plugins: Name of each plugin to the plugin; their listeners are called in this order.
        state: The plain data of the run.
        failures: Records what observers raise.
        report: Logs a line.
    """

    def __init__(
        self,
        plugins: Mapping[str, object],
        state: RunState,
        failures: Failures,
        report: Callable[[str], object] = lambda _: None,
    ) -> None:
        self._state, self._failures, self._report = state, failures, report
        self._listeners = [
            _listener(name, plugin, attribute, hears)
            for name, plugin in plugins.items()
            for attribute, hears in event_listeners(plugin)
        ]
        self._names = dict.fromkeys(each.hears.event for each in self._listeners if each.hears.event != EVERY_EVENT)
        self._counts: dict[str, int] = {}
        self._earlier: dict[str, tuple[list[int], int]] = {}
        """Where each event was last emitted, and how often before that batch."""
        self._reported: set[str] = set()

    def emit(self, run: object, event: str, values: Mapping[str, Any]) -> Decision:
        """Call the listeners of an event; return the union of their decisions.

        Raises:
            SettingsError: A listener takes a value that was not given.
            LoopError: A plugin that decides has returned something else than a decision or None.
        """
        before, place = self._counts.get(event, 0), self._state.loop_position
        if self._earlier.get(event, ([], 0))[0] != place:
            self._earlier[event] = place, before
        self._counts[event] = count = before + 1
        if event not in self._names:
            self._report_near(event)
        decision = NOTHING
        for each in self._listeners:
            if each.hears.hears(event, count) and each.plugin not in self._failures.disabled:
                answer = self._call(each, {**values, "run": run, "event": event, "count": count, "values": values})
                if answer is not None:
                    decision |= answer.signed(each.plugin)
        return decision

    def _call(self, listener: _Listener, given: Mapping[str, Any]) -> Decision | None:
        event = given["event"]
        try:
            for name in listener.required:
                if name not in given:
                    values = ", ".join(each for each in given if each not in EVENT_ARGUMENTS) or "none"
                    raise SettingsError(
                        f"{listener.plugin} takes {name!r}, which emit({event!r}) does not give; values: {values}"
                    )
            result = listener.method(**{name: given[name] for name in listener.arguments if name in given})
            if not isinstance(result, (Decision, NoneType)):
                raise LoopError(f"{listener.plugin} returned {result!r} from {event!r}; return a Decision or None")
        except Exception as error:
            if listener.observes:
                self._failures.record_hook_error(listener.plugin, event, error)
                return None
            add_plugin_note(error, event, listener.plugin)
            raise
        return result

    def _report_near(self, event: str) -> None:
        """Report, once, an event that nobody listens to, if there is a listener to one of a similar name."""
        near = nearest(event, self._names)
        if near and event not in self._reported:
            self._reported.add(event)
            self._report(f"no plugin listens to {event!r}; did you mean {near!r}?")

    # --- across a resume

    def counts(self) -> dict[str, int]:
        """Return how often each event was emitted, for a checkpoint.

        Without those of the present batch, which a resumed run trains again.
        """
        if not self._state.position.mid_epoch:
            return dict(self._counts)
        place = self._state.loop_position
        again = {event: before for event, (where, before) in self._earlier.items() if where == place}
        return {event: count for event, count in {**self._counts, **again}.items() if count}

    def resume(self, counts: Mapping[str, int]) -> None:
        """Continue to count from what ``counts`` returned."""
        self._counts, self._earlier = dict(counts), {}


def _listener(name: str, plugin: object, attribute: str, hears: EventFilter) -> _Listener:
    method = getattr(plugin, attribute)
    parameters = inspect.signature(method).parameters.values()
    required = tuple(each.name for each in parameters if each.default is each.empty)
    return _Listener(name, is_observer(plugin), hears, method, tuple(each.name for each in parameters), required)
