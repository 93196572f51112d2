"""Batches cost only what is used: the counters of a loop are the same whether plugins listen to batches or not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Literal, NamedTuple

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from trainbus import LoopError, Run, SettingsError, hookimpl
from trainbus.decision import Decision, Stop, stop
from trainbus.engine.bus import Bus
from trainbus.engine.loops.batch_loop import observed_batches, unobserved_batches
from trainbus.engine.run_state import RunState
from trainbus.failures import Failures


class Epoch(NamedTuple):
    """One loop over batches: how many there are and how it is left at which."""

    batches: int
    accumulate: int | None
    leave: Literal["", "break", "stop", "loader fails"]
    at: int


epochs = st.builds(
    Epoch,
    st.integers(0, 7),
    st.sampled_from([1, 2, 3, None]),
    st.sampled_from(["", "break", "stop", "loader fails"]),
    st.integers(0, 7),
)


class ListensToEnds:
    @hookimpl
    def on_batch_end(self) -> None:
        pass


class ListensToBegins:
    @hookimpl
    def on_batch_begin(self) -> None:
        pass


class ListensToEpochs:
    @hookimpl
    def on_epoch_end(self) -> None:
        pass


def loader(epoch: Epoch) -> Iterator[int]:
    for number in range(epoch.batches):
        if epoch.leave == "loader fails" and number == epoch.at:
            raise OSError("the disk is gone")
        yield number


def counted(listener: object, planned: list[Epoch]) -> list[tuple[object, ...]]:
    """Return what the loop reads from its run, at each place where it can be read."""
    seen: list[tuple[object, ...]] = []
    with Run(callbacks=[listener]) as run:
        for number in run.epochs(len(planned)):
            epoch = planned[number]
            try:
                for item in run.batches(loader(epoch), accumulate=epoch.accumulate):
                    if epoch.accumulate is None:
                        run.step += 2
                    seen.append((item, run.batch, run.step))
                    if epoch.leave == "break" and item == epoch.at:
                        break
                    if epoch.leave == "stop" and item == epoch.at:
                        run.stop("enough")
            except OSError:
                seen.append(("failed", run.step))
            else:
                seen.append(("ended", run.batch, run.step, run.stopped))
    return seen


@given(st.lists(epochs, max_size=4))
@example([Epoch(5, 2, "break", 3), Epoch(5, 3, "", 0)])
def test_counters_are_the_same_whether_plugins_listen_or_not(planned: list[Epoch]) -> None:
    """``batch`` and ``step`` have the same values in the body and after the loop, also after a ``break``."""
    unobserved = counted(ListensToEpochs(), planned)
    assert unobserved == counted(ListensToEnds(), planned) == counted(ListensToBegins(), planned)


@given(st.lists(st.sampled_from([1, 2, 3]), min_size=1, max_size=5), st.integers(0, 6))
def test_a_step_is_counted_once_in_so_many_batches(accumulates: list[int], batches: int) -> None:
    """Over all loops, batches that fill no update at the end of one are not carried into the next."""
    with Run() as run:
        run.begin_epoch(0)
        for accumulate in accumulates:
            for item in run.batches(range(batches), accumulate=accumulate):
                assert run.batch == item
    assert run.step == sum(batches // accumulate for accumulate in accumulates)


@given(st.integers(0, 5), st.integers(0, 3))
def test_a_step_that_the_loop_counts_is_added(batches: int, more: int) -> None:
    """Setting ``step`` inside a loop shifts it, and counting continues from there."""
    with Run() as run:
        run.begin_epoch(0)
        for _ in run.batches(range(batches)):
            before = run.step
            run.step += more
            assert run.step == before + more
    assert run.step == batches * (1 + more)


def nested(run: Run) -> None:
    for _ in run.batches(range(3)):
        for _ in run.batches(range(2)):
            pass


def nested_and_left(run: Run) -> None:
    for _ in run.batches(range(3)):
        for _ in run.batches(range(2)):
            break


def nested_in_a_validation(run: Run) -> None:
    for _ in run.batches(range(3)):
        with run.validation():
            for _ in run.batches(range(2)):
                run.log(loss=1.0)


def side_by_side(run: Run) -> None:
    for _ in zip(run.batches("abc"), run.batches("xyz"), strict=True):
        pass


def drawn_in_turn(run: Run) -> None:
    real, fake = run.batches("abc"), run.batches("xyz")
    for _ in range(3):
        next(real), next(fake)


def drawn_inside(run: Run) -> None:
    critic = iter(run.batches(range(99)))
    for _ in run.batches("xyz", accumulate=None):
        next(critic), next(critic)


def enumerated(run: Run) -> None:
    for number, _ in enumerate(run.batches(range(3))):
        list(run.batches(range(number)))


def nested_by_a_generator(run: Run) -> None:
    def inner() -> Iterator[int]:
        yield from run.batches(range(2))

    for _ in run.batches(range(3)):
        list(inner())


LISTENERS = [ListensToEpochs(), ListensToEnds(), ListensToBegins()]
NESTED = [
    nested, nested_and_left, nested_in_a_validation, side_by_side, drawn_in_turn, drawn_inside, enumerated,
    nested_by_a_generator,
]  # fmt: skip


@pytest.mark.parametrize("listener", LISTENERS)
@pytest.mark.parametrize("train", NESTED)
def test_a_loop_that_continues_after_another_has_begun_is_refused(
    train: Callable[[Run], None], listener: object
) -> None:
    """Its batches would be counted twice, and a resume would continue in the wrong one."""
    with pytest.raises(LoopError, match=r"iterate over several loaders at once as in run.batches\(zip\(a, b\)\)"):  # noqa: SIM117
        with Run(callbacks=[listener]) as run:
            for _ in run.epochs(2):
                train(run)


def one_after_the_other(run: Run) -> int:
    return sum(1 for loader in ("abc", "xyz", "") for _ in run.batches(loader))


def left_and_another(run: Run) -> int:
    batches = run.batches(range(9))
    for _ in batches:
        break
    return 1 + sum(1 for _ in run.batches("xyz"))


def left_by_next(run: Run) -> int:
    batches = iter(run.batches(range(9)))
    next(batches)
    return 1 + sum(1 for _ in run.batches("xyz"))


def left_by_an_error(run: Run) -> int:
    try:
        for _ in run.batches(range(9)):
            raise KeyError
    except KeyError:
        return 1 + sum(1 for _ in run.batches("xyz"))
    return 0


def made_first(run: Run) -> int:
    one, other = run.batches("abc"), run.batches("xyz")
    return sum(1 for loop in (one, other) for _ in loop)


def made_first_in_another_order(run: Run) -> int:
    one, other = run.batches("abc"), run.batches("xyz")
    return sum(1 for loop in (other, one) for _ in loop)


def several_critic_loops(run: Run) -> int:
    return sum(1 for _ in range(3) for loader in (range(2), range(1)) for _ in run.batches(loader))


def zipped(run: Run) -> int:
    return sum(1 for _ in run.batches(zip("abc", "xyz", strict=True)))


@pytest.mark.parametrize("listener", LISTENERS)
@pytest.mark.parametrize(
    "train",
    [
        one_after_the_other, left_and_another, left_by_next, left_by_an_error, made_first, made_first_in_another_order,
        several_critic_loops, zipped,
    ],
)  # fmt: skip
def test_loops_one_after_the_other_are_counted(train: Callable[[Run], int], listener: object) -> None:
    """Also if one was left in the middle."""
    with Run(callbacks=[listener]) as run:
        done = sum(train(run) for _ in run.epochs(2))

    # the batch in which a loop was left is not counted
    assert done - 2 <= run.step <= done


def test_batches_belong_inside_the_run() -> None:
    """A loop outside is refused when it is written, not at its first batch."""
    with pytest.raises(LoopError, match="inside `with run:`"):
        Run().batches([1, 2])


@pytest.mark.parametrize("accumulate", [0, -1])
def test_no_update_takes_less_than_a_batch(accumulate: int) -> None:
    """A number of batches below 1 is refused."""
    with Run() as run, pytest.raises(SettingsError, match=f"accumulate={accumulate}"):
        run.batches([1, 2], accumulate=accumulate)


# --- loops without a run


class Answers:
    """A plugin that answers both hooks of a batch with a stop that names their arguments."""

    @hookimpl
    def on_batch_begin(self, run: object, epoch: int, batch: int) -> Decision:
        return stop(f"begin {run} {epoch} {batch}")

    @hookimpl
    def on_batch_end(self, run: object, epoch: int, batch: int, step: int, metrics: object) -> Decision:
        return stop(f"end {run} {epoch} {batch} {step} {id(metrics)}")


@given(st.integers(0, 4), st.integers(0, 6), st.sampled_from([1, 2, None]))
def test_an_observed_loop_executes_what_plugins_answer(first: int, batches: int, accumulate: int | None) -> None:
    """With the batch, counted in the epoch from its first one, and the updates that were made by its end."""
    state, bus = RunState(), Bus(Failures())
    bus.register([("p", Answers())])
    executed: list[object] = []
    loop = observed_batches("run", state, bus, range(batches), first, accumulate, executed.append, lambda *_: False)
    assert list(loop) == list(range(batches))

    expected: list[object] = []
    for batch in range(first, first + batches):
        step = 0 if accumulate is None else (batch + 1) // accumulate - first // accumulate
        expected += [
            stop(f"begin run 0 {batch}").signed("p"),
            stop(f"end run 0 {batch} {step} {id(state.means)}").signed("p"),
        ]
    assert executed == expected
    assert state.counters.current_trained_batches == (first + batches if batches else 0)


@pytest.mark.parametrize("observed", [True, False])
def test_a_loop_asks_whether_it_ends_only_after_a_stop(observed: bool) -> None:
    """Then after each batch, with how many there were."""
    state, bus, asked = RunState(), Bus(Failures()), list[object]()

    def ends(batches: int, accumulate: int | None) -> bool:
        asked.append((batches, accumulate))
        return batches == 4

    loop = (
        observed_batches(None, state, bus, range(9), 0, 2, print, ends)
        if observed
        else unobserved_batches(state, range(9), 0, 2, ends)
    )
    for batch in loop:
        if batch == 1:
            state.stop_actions.append(Stop(reason="x"))

    assert asked == [(2, 2), (3, 2), (4, 2)]
    assert (state.batch, state.step, state.counters.trained_batches) == (3, 2, 4)
