"""A bus calls the plugins in order and joins their answers into one decision; it needs no run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainbus import CheckpointError, Decision, LoopError, SettingsError, decision, hookimpl
from trainbus.checkpoints import Checkpoint, ManifestEntry
from trainbus.checkpoints.async_writer import FailedSave
from trainbus.decision import NOTHING, join
from trainbus.engine.bus import Bus
from trainbus.engine.dispatch import CompiledHook
from trainbus.engine.execution_result import ExecutionResult
from trainbus.failures import MAX_FAILURES, Failures
from trainbus.hooks import HOOKS

ARGUMENTS = {
    "on_epoch_begin": ("run", 3),
    "on_epoch_end": ("run", 3, {"loss": 0.5}),
}


class Answers:
    """A plugin that answers the ends of epochs and of the training, and logs the arguments."""

    def __init__(self, answer: object = None, log: list[object] | None = None) -> None:
        self.answer = answer
        self.log = [] if log is None else log

    @hookimpl
    def on_epoch_end(self, run: object, epoch: int, metrics: object) -> object:
        self.log.append((self, run, epoch, metrics))
        return self.go()

    @hookimpl
    def on_train_end(self) -> object:
        self.log.append(self)
        return self.go()

    @hookimpl
    def on_exception(self) -> object:
        self.log.append(self)
        return self.go()

    def go(self) -> object:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


class Observes(Answers):
    critical = False


def bus_of(*plugins: object, bind: Callable[[str, CompiledHook], CompiledHook] | None = None) -> tuple[Bus, Failures]:
    failures = Failures()
    bus = Bus(failures) if bind is None else Bus(failures, bind)
    bus.register([(f"p{index}", plugin) for index, plugin in enumerate(plugins)])
    return bus, failures


def ask(bus: Bus) -> Decision:
    """State the end of an epoch; return the joint decision."""
    assert bus.on_epoch_end is not None
    return bus.on_epoch_end(*ARGUMENTS["on_epoch_end"]) or NOTHING


def test_a_hook_that_no_plugin_implements_is_none() -> None:
    """Also of a bus without plugins."""
    bus, _ = bus_of(Answers())
    assert [name for name in HOOKS if getattr(bus, name) is not None] == [
        "on_epoch_end",
        "on_train_end",
        "on_exception",
    ]
    assert all(getattr(Bus(Failures()), name) is None for name in HOOKS)


@given(st.lists(st.none() | st.sampled_from(["a", "b", "c"]), max_size=5))
def test_plugins_are_called_in_order_and_their_answers_joined(reasons: list[str | None]) -> None:
    """Each action is signed by the plugin that asked for it; None asks for nothing."""
    log: list[object] = []
    answers = [None if each is None else decision.stop(each) for each in reasons]
    plugins = [Answers(each, log) for each in answers]
    bus, _ = bus_of(*plugins)
    if not plugins:
        assert bus.on_epoch_end is None
        return

    assert ask(bus) == join(each.signed(f"p{index}") for index, each in enumerate(answers) if each is not None)
    assert log == [(plugin, *ARGUMENTS["on_epoch_end"]) for plugin in plugins]


def test_plugins_that_are_added_later_are_called_first() -> None:
    """Among each other in the order in which they are given."""
    log: list[object] = []
    plugins = [Answers(log=log) for _ in range(4)]
    bus = Bus(Failures())
    bus.register([("c", plugins[2]), ("d", plugins[3])])
    bus.register([("a", plugins[0]), ("b", plugins[1])])
    assert ask(bus) == NOTHING

    assert [entry[0] for entry in log] == plugins  # type: ignore[index]


def test_a_plugin_is_registered_once() -> None:
    """Under whatever name."""
    plugin = Answers()
    bus = Bus(Failures())
    with pytest.raises(SettingsError, match="a is listed twice; list each plugin object once"):
        bus.register([("a", plugin), ("b", plugin)])


def test_an_answer_that_is_no_decision_is_refused() -> None:
    """A decider's is an error that names plugin and hook; an observer's is recorded and counts as None."""
    bus, failures = bus_of(Answers(decision.stop("x")), Observes("stop"))
    assert ask(bus) == decision.stop("x").signed("p0")
    assert [str(each) for each in failures.all] == [
        "p1 in on_epoch_end: LoopError: p1 returned 'stop' from on_epoch_end; return a Decision or None"
    ]

    bus, failures = bus_of(Answers("stop"))
    with pytest.raises(LoopError, match="p0 returned 'stop' from on_epoch_end; return a Decision or None"):
        ask(bus)
    assert failures.all == []


def test_each_hook_at_which_a_plugin_decides_is_bound_once() -> None:
    """A hook that only observers implement is called as it is."""

    class Begins(Observes):
        @hookimpl
        def on_epoch_begin(self) -> Decision:
            return decision.stop("observed")

    bound: list[str] = []

    def bind(name: str, hook: CompiledHook) -> CompiledHook:
        bound.append(name)
        return lambda *values: hook(*values) or decision.stop("bound")

    bus, _ = bus_of(Answers(), Begins(), bind=bind)
    assert sorted(bound) == ["on_epoch_end", "on_exception", "on_train_end"]
    assert ask(bus) == decision.stop("bound")
    assert bus.on_epoch_begin is not None
    assert bus.on_epoch_begin(*ARGUMENTS["on_epoch_begin"]) == decision.stop("observed").signed("p1")


def test_hooks_of_disabled_observers_are_dropped() -> None:
    """When the bus is asked to; until then a loop may use the function, which does not call them."""
    bus, failures = bus_of(Observes(ValueError("no")))
    compiled = bus.on_epoch_end
    assert compiled is not None
    for _ in range(MAX_FAILURES + 1):
        assert compiled(*ARGUMENTS["on_epoch_end"]) is None
    assert len(failures.all) == MAX_FAILURES
    assert bus.on_epoch_end is compiled
    bus.drop_disabled()

    assert bus.on_epoch_end is None


@pytest.mark.parametrize("failed", [False, True])
def test_every_plugin_is_called_at_the_end(failed: bool) -> None:
    """Even after one has raised; a disabled observer only at the end of the training, where it may close files."""
    log: list[object] = []
    plugins = [Answers(ValueError("a"), log), Observes(ValueError("b"), log), Answers(decision.stop("c"), log)]
    disabled = Observes(log=log)
    bus, failures = bus_of(*plugins, disabled)
    failures.disabled.add("p3")
    decided, errors = bus.end("run", ValueError() if failed else None)

    hooks = ["on_exception", "on_train_end"] if failed else ["on_train_end"]
    assert log == [*plugins * len(hooks), disabled]
    assert errors == [plugins[0].answer] * len(hooks)
    assert errors[0].__notes__ == [f"raised in {name} by the plugin 'p0'" for name in hooks]
    assert [(each.hook, each.error) for each in failures.all] == [(name, plugins[1].answer) for name in hooks]
    assert decided == decision.stop("c").signed("p2")


def test_an_error_after_the_end_is_a_matter_of_the_plugins_that_decide() -> None:
    """They are called with it, every one, and their answers are added to the last decision."""
    log: list[object] = []
    plugins = [Answers(ValueError("a"), log), Observes(decision.stop("b"), log), Answers(decision.keep("c"), log)]
    bus, _ = bus_of(*plugins)
    decided, errors = bus.fail("run", OSError("full"), decision.stop("last"))

    assert log == [plugins[0], plugins[2]]
    assert errors == [plugins[0].answer]
    assert decided == decision.stop("last") | decision.keep("c").signed("p2")


def test_a_plugin_that_asks_for_nothing_valid_at_the_end_is_an_error() -> None:
    """The decisions of the others count."""
    bus, _ = bus_of(Answers("stop"), Answers(decision.stop("c")))
    decided, (error,) = bus.end("run", None)

    assert decided == decision.stop("c").signed("p1")
    assert str(error) == "p0 returned 'stop' from on_train_end; return a Decision or None"


def test_a_replayed_hook_is_called_and_its_answers_are_ignored() -> None:
    """They were executed before the resume; a hook that no plugin implements is nothing to replay."""
    plugin = Answers(decision.stop("x"))
    bus, _ = bus_of(plugin)
    bus.replay("on_epoch_end", *ARGUMENTS["on_epoch_end"])
    bus.replay("on_epoch_begin", *ARGUMENTS["on_epoch_begin"])

    assert plugin.log == [(plugin, *ARGUMENTS["on_epoch_end"])]


class Announced:
    """A plugin that logs executed, written and failed actions."""

    def __init__(self) -> None:
        self.log: list[object] = []

    @hookimpl
    def on_decision(self, decision: Decision) -> object:
        self.log.append(decision)
        return "an answer that is ignored"

    @hookimpl
    def on_checkpoint(self, checkpoint: Checkpoint) -> object:
        self.log.append(checkpoint)
        return "an answer that is ignored"

    @hookimpl
    def on_checkpoint_error(self, path: Path, step: int, error: CheckpointError) -> object:
        self.log.append((path, step, error))
        return "an answer that is ignored"


def test_a_result_is_announced_file_by_file_then_as_a_decision() -> None:
    """The answers are ignored; an empty decision is none."""
    plugin = Announced()
    bus, _ = bus_of(plugin)
    checkpoint = Checkpoint(path=Path("m"), entry=ManifestEntry(digest="", size=0, epoch=0, step=0))
    failed = FailedSave(Path("n"), 3, CheckpointError("full"))
    bus.announce("run", ExecutionResult(decision.stop("x"), (checkpoint,), (failed,)))
    bus.announce("run", ExecutionResult())

    assert plugin.log == [checkpoint, tuple(failed), decision.stop("x")]
