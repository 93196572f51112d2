"""The laws of compiled hooks: what pluggy's own call does, with each answer and each error at its plugin's place."""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator, Sequence
from contextlib import suppress
from itertools import permutations
from typing import Any, Literal, NamedTuple

import pluggy
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from trainbus.engine.dispatch import call_all, compile_hook
from trainbus.failures import LIMIT, Failures

spec, impl = pluggy.HookspecMarker("laws"), pluggy.HookimplMarker("laws")

ARGUMENTS = ("run", "epoch", "metrics")
VALUES: dict[str, Any] = dict(zip(ARGUMENTS, ("the run", 3, {"loss": 0.5}), strict=True))


class Specified:
    @spec
    def on_event(self, run: object, epoch: int, metrics: object) -> object: ...

    @spec(firstresult=True)
    def on_choice(self, run: object, epoch: int, metrics: object) -> object: ...


class Boom(Exception):
    pass


class Plan(NamedTuple):
    """How one plugin behaves."""

    kind: Literal["plain", "wrapper", "hookwrapper"]
    arguments: tuple[str, ...]
    default: bool
    place: Literal["tryfirst", "trylast"] | None
    does: Literal["silent", "answers", "raises", "changes", "raises late", "swallows"]


def plans(*kinds: Literal["plain", "wrapper", "hookwrapper"]) -> st.SearchStrategy[list[Plan]]:
    subsets = [subset for size in range(4) for subset in permutations(ARGUMENTS, size)]
    does = {
        "plain": ("silent", "answers", "raises"),
        "wrapper": ("silent", "raises", "changes", "raises late", "swallows"),
        "hookwrapper": ("silent", "raises", "changes", "raises late", "swallows"),
    }
    one = st.sampled_from(kinds).flatmap(
        lambda kind: st.builds(
            Plan,
            st.just(kind),
            st.sampled_from(subsets),
            st.booleans(),
            st.sampled_from(("tryfirst", "trylast", None)),
            st.sampled_from(does[kind]),
        )
    )
    return st.lists(one, max_size=8)


class Bench:
    """Plugins that behave as planned, registered with pluggy, and the log of what they were called with."""

    def __init__(self, planned: Sequence[Plan], hook: str = "on_event", observers: Collection[int] = ()) -> None:
        self.log: list[tuple[int, tuple[Any, ...]]] = []
        self.observers = observers
        self.manager = pluggy.PluginManager("laws")
        self.manager.add_hookspecs(Specified)
        for number, plan in enumerate(planned):
            self.manager.register(self.plugin(number, plan, hook), f"plugin{number}")
        self.hook: pluggy.HookCaller = getattr(self.manager.hook, hook)

    def plugin(self, number: int, plan: Plan, hook: str) -> object:
        makers = {"plain": self.plain, "wrapper": self.wrapper, "hookwrapper": self.hookwrapper}
        function: Any = makers[plan.kind](number, plan)
        names = ["self", *plan.arguments, *(["extra=None"] if plan.default else [])]
        # pluggy reads the arguments from the function that this one wraps
        function.__wrapped__ = eval(f"lambda {', '.join(names)}: None")
        options: Any = {key: True for key in (plan.place, plan.kind) if key not in (None, "plain")}
        return type("Plugin", (), {hook: impl(**options)(function), "critical": number not in self.observers})()

    def plain(self, number: int, plan: Plan) -> Callable[..., object]:
        def method(_: object, *values: object) -> object:
            self.log.append((number, values))
            if plan.does == "raises":
                raise Boom(number)
            return None if plan.does == "silent" else f"answer {number}"

        return method

    def wrapper(self, number: int, plan: Plan) -> Callable[..., Generator[None, Any, object]]:
        def method(_: object, *values: object) -> Generator[None, Any, object]:
            self.log.append((number, values))
            if plan.does == "raises":
                raise Boom(number)
            try:
                result = yield
            except Boom:
                if plan.does != "swallows":
                    raise
                result = [f"swallowed by {number}"]
            if plan.does == "raises late":
                raise Boom(number)
            return f"changed by {number}" if plan.does == "changes" else result

        return method

    def hookwrapper(self, number: int, plan: Plan) -> Callable[..., Generator[None, Any]]:
        def method(_: object, *values: object) -> Generator[None, Any]:
            self.log.append((number, values))
            if plan.does == "raises":
                raise Boom(number)
            outcome = yield
            if plan.does == "raises late":
                outcome.force_exception(Boom(number))
            if plan.does == "changes" or (plan.does == "swallows" and outcome.exception is not None):
                outcome.force_result([f"changed by {number}"])

        return method

    def outcome(self, call: Callable[[], object]) -> tuple[object, object, list[tuple[int, tuple[Any, ...]]]]:
        """What the call returned or raised, and which plugins it called with what."""
        self.log.clear()
        try:
            returned, raised = call(), None
        except (Boom, RuntimeError) as error:
            returned, raised = None, (type(error), error.args)
        return returned, raised, list(self.log)


def listed(result: object) -> list[object]:
    """Answers as a list without silence, whoever returned them."""
    if isinstance(result, (list, tuple)):
        return [answer for answer in result if answer is not None]
    return [] if result is None else [result]


@given(plans("plain") | plans("plain", "wrapper", "hookwrapper"), st.sampled_from(["on_event", "on_choice"]))
@example([Plan("plain", (), default=False, place=None, does="answers")] * 2, "on_choice")
def test_a_compiled_hook_does_what_pluggy_does(planned: list[Plan], hook: str) -> None:
    """The same calls in the same order with the same arguments, the same answers, the same exception."""
    bench = Bench(planned, hook)
    compiled = compile_hook(bench.hook)
    returned, raised, called = bench.outcome(lambda: bench.hook(**VALUES))
    if compiled is None:
        assert not planned
        assert not listed(returned)
        return
    same = bench.outcome(lambda: compiled(*VALUES.values()))
    assert (listed(same[0]), same[1], same[2]) == (listed(returned), raised, called)


@given(plans("plain"))
def test_each_answer_stands_at_the_place_of_its_plugin(planned: list[Plan]) -> None:
    """Answers come in calling order, None where a plugin was silent; all silent is None and not a row of it."""
    bench = Bench([plan._replace(does="silent") if plan.does == "raises" else plan for plan in planned])
    compiled = compile_hook(bench.hook)
    answers = compiled and compiled(*VALUES.values())
    order = [number for number, _ in bench.log]
    assert sorted(order) == list(range(len(planned)))
    expected = tuple(f"answer {number}" if planned[number].does == "answers" else None for number in order)
    assert answers == (expected if any(expected) else None)


@given(plans("plain"))
def test_an_error_names_its_plugin_and_the_hook(planned: list[Plan]) -> None:
    """What a plugin raises goes on as it is, with one note that tells whose it is."""
    bench = Bench(planned)
    compiled = compile_hook(bench.hook)
    if compiled is None or not any(plan.does == "raises" for plan in planned):
        return
    with pytest.raises(Boom) as caught:
        compiled(*VALUES.values())
    number = bench.log[-1][0]
    assert caught.value.args == (number,)
    assert caught.value.__notes__ == [f"raised in on_event by the plugin 'plugin{number}'"]


def test_an_interrupt_names_where_it_struck() -> None:
    """What is no Exception, as Ctrl-C, carries the note too."""

    class Slow:
        @impl
        def on_event(self) -> None:
            raise KeyboardInterrupt

    manager = pluggy.PluginManager("laws")
    manager.add_hookspecs(Specified)
    manager.register(Slow(), "slow")
    compiled = compile_hook(manager.hook.on_event)
    assert compiled is not None
    with pytest.raises(KeyboardInterrupt) as caught:
        compiled(*VALUES.values())
    assert caught.value.__notes__ == ["raised in on_event by the plugin 'slow'"]


def test_a_hook_that_nobody_hears_is_none() -> None:
    """Also one that a plugin heard and that it left again."""
    bench = Bench([Plan("plain", (), default=False, place=None, does="answers")])
    assert compile_hook(bench.hook) is not None
    bench.manager.unregister(name="plugin0")
    assert compile_hook(bench.hook) is None


@given(plans("plain"))
def test_call_each_tells_every_plugin(planned: list[Plan]) -> None:
    """All are called in calling order; answers stand at their places, errors name their plugins."""
    bench = Bench(planned)
    answers, errors = call_all(bench.hook, VALUES)
    order = [number for number, _ in bench.log]
    assert sorted(order) == list(range(len(planned)))
    assert order == [int(each.plugin_name[len("plugin") :]) for each in bench.hook.get_hookimpls()[::-1]]
    assert answers == tuple(f"answer {n}" if planned[n].does == "answers" else None for n in order)
    raising = [number for number in order if planned[number].does == "raises"]
    assert [error.args for error in errors] == [(number,) for number in raising]
    assert [error.__notes__ for error in errors] == [
        [f"raised in on_event by the plugin 'plugin{number}'"] for number in raising
    ]


@given(plans("plain", "wrapper", "hookwrapper"))
def test_call_each_tells_every_plugin_through_wrappers_too(planned: list[Plan]) -> None:
    """All are called once, in pluggy's order; errors name their plugins; without errors the answers are pluggy's."""
    bench = Bench(planned)
    answers, errors = call_all(bench.hook, VALUES)
    assert [number for number, _ in bench.log] == [
        int(each.plugin_name[len("plugin") :]) for each in bench.hook.get_hookimpls()[::-1]
    ]
    for number, values in bench.log:
        assert values == tuple(VALUES[name] for name in planned[number].arguments)
    raising = [number for number, _ in bench.log if planned[number].does == "raises"]
    late = {number for number, plan in enumerate(planned) if plan.does == "raises late"}
    told = [error.args[0] for error in errors]
    assert set(told) - late == set(raising)
    assert len(told) == len(set(told))
    for error in errors:
        notes = [f"raised in on_event by the plugin 'plugin{error.args[0]}'"]
        # pluggy itself raises what an old-style wrapper put in the place of its result
        assert getattr(error, "__notes__", notes) == notes
    if not raising and not late:
        assert listed(answers) == listed(bench.hook(**VALUES))


@given(plans("plain", "wrapper"))
def test_an_error_names_its_plugin_through_wrappers_too(planned: list[Plan]) -> None:
    """The note tells whose error it is, once, also where it passed through other plugins' wrappers."""
    bench = Bench(planned)
    compiled = compile_hook(bench.hook)
    if compiled is None:
        return
    with suppress(Boom):
        try:
            compiled(*VALUES.values())
        except Boom as error:
            notes, number = error.__notes__, error.args[0]
            raise
        return
    assert notes == [f"raised in on_event by the plugin 'plugin{number}'"]


@given(plans("plain", "wrapper"), st.data())
def test_an_observer_that_raises_passes_for_a_silent_one(planned: list[Plan], data: st.DataObject) -> None:
    """The others' calls, answers and errors are those of a hook in which it is silent; its own error is noted."""
    observers = data.draw(st.sets(st.sampled_from(range(len(planned))) if planned else st.nothing()))
    bench = Bench(planned, observers=observers)
    quiet = Bench(
        [
            plan._replace(does="silent") if n in observers and "raises" in plan.does else plan
            for n, plan in enumerate(planned)
        ]
    )
    failures = Failures()
    compiled, same = compile_hook(bench.hook, failures), compile_hook(quiet.hook)
    if compiled is None or same is None:
        assert compiled is same
        return
    assert bench.outcome(lambda: compiled(*VALUES.values())) == quiet.outcome(lambda: same(*VALUES.values()))
    failed = [each.plugin for each in failures.all]
    assert len(failed) == len(set(failed))
    does = {f"plugin{n}": planned[n].does for n, _ in bench.log if n in observers}
    # one that raises late does not come to it where another's error passes through it
    assert {name for name in does if does[name] == "raises"} <= set(failed)
    assert all(does[name] in ("raises", "raises late") for name in failed)


@pytest.mark.parametrize("kind", ["plain", "wrapper"])
def test_one_that_is_switched_off_is_called_no_more(kind: Literal["plain", "wrapper"]) -> None:
    """Not even by a function that was compiled before and that a loop still holds; the places of answers stay."""
    plan = Plan("plain", (), default=False, place=None, does="answers")
    bench = Bench([plan, plan._replace(kind=kind, does="raises"), plan], observers={1})
    failures = Failures()
    compiled = compile_hook(bench.hook, failures)
    assert compiled is not None
    for _ in range(LIMIT + 2):
        answers = compiled(*VALUES.values())
        assert answers is not None
        assert listed(answers) == ["answer 2", "answer 0"]
    assert sum(number == 1 for number, _ in bench.log) == LIMIT
    again = compile_hook(bench.hook, failures)
    assert again is not None
    assert again(*VALUES.values()) == ("answer 2", "answer 0")
