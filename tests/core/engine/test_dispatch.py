"""A compiled hook does what pluggy's own call does, with each plugin's result and error in the same order."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from itertools import permutations
from typing import Any, Literal, NamedTuple

import pluggy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainbus.engine.dispatch import call_all, compile_hook
from trainbus.failures import MAX_FAILURES, Failures

spec, impl = pluggy.HookspecMarker("laws"), pluggy.HookimplMarker("laws")

ARGUMENTS = ("run", "epoch", "metrics")
VALUES: dict[str, Any] = dict(zip(ARGUMENTS, ("the run", 3, {"loss": 0.5}), strict=True))


class Specified:
    @spec
    def on_event(self, run: object, epoch: int, metrics: object) -> object: ...


class Boom(Exception):
    pass


class Plan(NamedTuple):
    """How one plugin behaves."""

    arguments: tuple[str, ...] = ()
    default: bool = False
    place: Literal["tryfirst", "trylast"] | None = None
    does: Literal["silent", "answers", "raises"] = "answers"


plans = st.lists(
    st.builds(
        Plan,
        st.sampled_from([subset for size in range(4) for subset in permutations(ARGUMENTS, size)]),
        st.booleans(),
        st.sampled_from(("tryfirst", "trylast", None)),
        st.sampled_from(("silent", "answers", "raises")),
    ),
    max_size=8,
)


class Bench:
    """Plugins that behave as planned, registered with pluggy, and the log of what they were called with."""

    def __init__(self, planned: Sequence[Plan], observers: Collection[int] = ()) -> None:
        self.log: list[tuple[int, tuple[Any, ...]]] = []
        self.observers = observers
        self.manager = pluggy.PluginManager("laws")
        self.manager.add_hookspecs(Specified)
        for number, plan in enumerate(planned):
            self.manager.register(self.plugin(number, plan), f"plugin{number}")
        self.hook: pluggy.HookCaller = self.manager.hook.on_event

    def plugin(self, number: int, plan: Plan) -> object:
        def method(_: object, *values: object) -> object:
            self.log.append((number, values))
            if plan.does == "raises":
                raise Boom(number)
            return None if plan.does == "silent" else f"answer {number}"

        names = ["self", *plan.arguments, *(["extra=None"] if plan.default else [])]
        # pluggy reads the arguments from the function that this one wraps
        method.__wrapped__ = eval(f"lambda {', '.join(names)}: None")  # type: ignore[attr-defined]
        options: Any = {} if plan.place is None else {plan.place: True}
        return type("Plugin", (), {"on_event": impl(**options)(method), "critical": number not in self.observers})()

    def outcome(self, call: Callable[[], object]) -> tuple[object, object, list[tuple[int, tuple[Any, ...]]]]:
        """Return the result or error of the call, and the plugins that it called with their arguments."""
        self.log.clear()
        try:
            returned, raised = call(), None
        except Boom as error:
            returned, raised = None, error.args
        return returned, raised, list(self.log)


def answers_in(result: object) -> list[object]:
    """The answers of plugins that were not silent, as pluggy returns them."""
    return [answer for answer in result if answer is not None] if isinstance(result, (list, tuple)) else []


@given(plans)
def test_a_compiled_hook_does_what_pluggy_does(planned: list[Plan]) -> None:
    """The same calls in the same order with the same arguments, the same answers, the same exception."""
    bench = Bench(planned)
    compiled = compile_hook(bench.hook, Failures(), tuple)
    returned, raised, called = bench.outcome(lambda: bench.hook(**VALUES))
    if compiled is None:
        assert not planned
        assert not answers_in(returned)
        return
    same = bench.outcome(lambda: compiled(*VALUES.values()))
    assert (answers_in(same[0]), same[1], same[2]) == (answers_in(returned), raised, called)


@given(plans)
def test_each_answer_has_the_index_of_its_plugin(planned: list[Plan]) -> None:
    """Answers come in calling order, None for a silent plugin; if all are silent the result is None, not a tuple."""
    bench = Bench([plan._replace(does="silent") if plan.does == "raises" else plan for plan in planned])
    compiled = compile_hook(bench.hook, Failures(), tuple)
    answers = compiled and compiled(*VALUES.values())
    order = [number for number, _ in bench.log]
    assert sorted(order) == list(range(len(planned)))
    expected = tuple(f"answer {number}" if planned[number].does == "answers" else None for number in order)
    assert answers == (expected if any(expected) else None)


@given(plans)
def test_an_error_names_its_plugin_and_the_hook(planned: list[Plan]) -> None:
    """A plugin's error is raised unchanged, with one note that names the plugin and the hook."""
    bench = Bench(planned)
    compiled = compile_hook(bench.hook, Failures(), tuple)
    if compiled is None or not any(plan.does == "raises" for plan in planned):
        return
    with pytest.raises(Boom) as caught:
        compiled(*VALUES.values())
    number = bench.log[-1][0]
    assert caught.value.args == (number,)
    assert caught.value.__notes__ == [f"raised in on_event by the plugin 'plugin{number}'"]


def test_an_interrupt_names_its_plugin() -> None:
    """Other BaseExceptions, such as Ctrl-C, get the note too."""

    class Slow:
        @impl
        def on_event(self) -> None:
            raise KeyboardInterrupt

    manager = pluggy.PluginManager("laws")
    manager.add_hookspecs(Specified)
    manager.register(Slow(), "slow")
    compiled = compile_hook(manager.hook.on_event, Failures(), tuple)
    assert compiled is not None
    with pytest.raises(KeyboardInterrupt) as caught:
        compiled(*VALUES.values())
    assert caught.value.__notes__ == ["raised in on_event by the plugin 'slow'"]


def test_a_hook_that_no_plugin_implements_is_none() -> None:
    """Also one whose only plugin was unregistered, or disabled."""
    bench = Bench([Plan()], observers={0})
    failures = Failures()
    assert compile_hook(bench.hook, failures, tuple) is not None
    failures.disabled.add("plugin0")
    assert compile_hook(bench.hook, failures, tuple) is None
    bench.manager.unregister(name="plugin0")
    assert compile_hook(bench.hook, Failures(), tuple) is None


@given(plans)
def test_call_all_calls_every_plugin(planned: list[Plan]) -> None:
    """All are called in calling order; each answer has the index of its plugin, each error names its plugin."""
    bench = Bench(planned)
    answers, errors = call_all(bench.hook, VALUES, Failures())
    order = [number for number, _ in bench.log]
    assert sorted(order) == list(range(len(planned)))
    assert order == [int(each.plugin_name[len("plugin") :]) for each in bench.hook.get_hookimpls()[::-1]]
    assert answers == tuple(f"answer {n}" if planned[n].does == "answers" else None for n in order)
    raising = [number for number in order if planned[number].does == "raises"]
    assert [error.args for error in errors] == [(number,) for number in raising]
    assert [error.__notes__ for error in errors] == [
        [f"raised in on_event by the plugin 'plugin{number}'"] for number in raising
    ]


@given(plans)
def test_call_all_answers_what_pluggy_does(planned: list[Plan]) -> None:
    """If no plugin raises, the arguments and the answers are those of pluggy's own call."""
    bench = Bench([plan._replace(does="silent") if plan.does == "raises" else plan for plan in planned])
    returned, _, called = bench.outcome(lambda: bench.hook(**VALUES))
    same, _, called_too = bench.outcome(lambda: call_all(bench.hook, VALUES, Failures())[0])

    assert answers_in(same) == answers_in(returned)
    assert called_too == called


@given(plans, st.data())
def test_call_all_leaves_out_the_given_plugins(planned: list[Plan], data: st.DataObject) -> None:
    """A plugin that is left out is not called, and its index holds None."""
    without = data.draw(st.sets(st.sampled_from(range(len(planned))) if planned else st.nothing()))
    bench = Bench([plan._replace(does="answers") for plan in planned])
    answers, errors = call_all(bench.hook, VALUES, Failures(), {f"plugin{n}" for n in without})
    order = [int(each.plugin_name[len("plugin") :]) for each in bench.hook.get_hookimpls()[::-1]]

    assert [number for number, _ in bench.log] == [number for number in order if number not in without]
    assert answers == tuple(None if number in without else f"answer {number}" for number in order)
    assert errors == []


@given(plans, st.data())
def test_an_observer_that_raises_counts_as_a_silent_one(planned: list[Plan], data: st.DataObject) -> None:
    """The others' calls, answers and errors are those of a hook in which it is silent; its own error is recorded."""
    observers = data.draw(st.sets(st.sampled_from(range(len(planned))) if planned else st.nothing()))
    bench = Bench(planned, observers=observers)
    quiet = Bench(
        [
            plan._replace(does="silent") if n in observers and plan.does == "raises" else plan
            for n, plan in enumerate(planned)
        ]
    )
    failures = Failures()
    compiled, same = compile_hook(bench.hook, failures, tuple), compile_hook(quiet.hook, Failures(), tuple)
    if compiled is None or same is None:
        assert compiled is same
        return
    assert bench.outcome(lambda: compiled(*VALUES.values())) == quiet.outcome(lambda: same(*VALUES.values()))
    failed = [each.plugin for each in failures.all]
    assert failed == [f"plugin{n}" for n, _ in bench.log if n in observers and planned[n].does == "raises"]


def test_a_disabled_observer_is_not_called() -> None:
    """Not even by a function that was compiled before and that a loop still uses; the indices of answers stay."""
    bench = Bench([Plan(), Plan(does="raises"), Plan()], observers={1})
    failures = Failures()
    compiled = compile_hook(bench.hook, failures, tuple)
    assert compiled is not None
    for _ in range(MAX_FAILURES + 2):
        assert compiled(*VALUES.values()) == ("answer 2", None, "answer 0")
    assert sum(number == 1 for number, _ in bench.log) == MAX_FAILURES
    again = compile_hook(bench.hook, failures, tuple)
    assert again is not None
    assert again(*VALUES.values()) == ("answer 2", "answer 0")
