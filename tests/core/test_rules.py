"""The rules of improvement, stopping, plateaus, intervals and retention."""

from math import inf, isfinite, nan

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainbus.rules import (
    Best,
    Intervals,
    Kept,
    Patience,
    Plateau,
    Retention,
    best_rule,
    crossing_rule,
    improves,
    interval_rule,
    plateau_rule,
    retention_rule,
    stopping_rule,
)

scores = st.floats(-10, 10) | st.sampled_from([nan, inf, -inf, 0.0, 1.0])
histories = st.lists(scores, min_size=1, max_size=25)
deltas = st.sampled_from([0.0, 1e-4, 0.5])


def stopping(history: list[float], **options) -> list[tuple[Patience, tuple]]:
    """Return every state and verdict of a history."""
    state, steps = Patience(), []
    for epoch, score in enumerate(history):
        state, verdict = stopping_rule(state, score, epoch, **options)
        steps.append((state, verdict))
    return steps


@given(scores, scores, deltas)
def test_only_finite_scores_improve(score: float, reference: float, delta: float) -> None:
    """An improvement is finite and strictly above its reference by more than min_delta."""
    assert improves(score, reference, delta) == (isfinite(score) and score - delta > reference)


@given(st.floats(allow_nan=False), st.floats(allow_nan=False), st.floats(0, 1e6))
def test_improving_downwards_is_the_mirror_image(value: float, reference: float, delta: float) -> None:
    """Negated scores improve exactly if the value falls below its reference by more than min_delta."""
    assert improves(-value, -reference, delta) == (isfinite(value) and value + delta < reference)


@given(histories)
def test_best_is_the_first_maximum_of_the_finite(history: list[float]) -> None:
    """The best score is the highest finite one, at the first epoch that reached it."""
    state = Best()
    for epoch, score in enumerate(history):
        state, _ = best_rule(state, score, epoch)

    finite = [score for score in history if isfinite(score)]
    assert state.score == max(finite, default=-inf)
    assert state.epoch == (history.index(max(finite)) if finite else -1)


@given(histories, st.integers(0, 4), deltas, st.sampled_from([-inf, 0.0, 3.0]), st.integers(0, 4))
def test_stopping_is_patience_without_improvement(
    history: list[float], patience: int, delta: float, baseline: float, start: int
) -> None:
    """It stops at epochs that bring no improvement, patience or more looked-at epochs after the last that reset it."""
    reset, best = start - 1, -inf
    steps = stopping(history, patience=patience, min_delta=delta, baseline=baseline, start_from_epoch=start)
    for epoch, (score, (state, verdict)) in enumerate(zip(history, steps, strict=True)):
        improved = epoch >= start and improves(score, best, delta)
        best = score if improved else best
        reset = epoch if improved and improves(score, baseline, delta) else reset
        waited = max(epoch - reset, 0) if epoch >= start else 0

        assert state.best == best
        assert verdict.improved == improved
        assert verdict.stop == (epoch >= start and epoch > 0 and not improved and waited >= patience)


@given(histories, st.integers(0, 4), deltas, st.integers(0, 4), st.lists(st.booleans(), min_size=25, max_size=25))
def test_reductions_keep_their_distance(
    history: list[float], patience: int, delta: float, cooldown: int, reducible: list[bool]
) -> None:
    """Reductions come at least max(patience, 1) + max(cooldown - 1, 0) epochs apart, and only above the floor."""
    state, last, best = Plateau(), None, -inf
    for epoch, score in enumerate(history):
        state, verdict = plateau_rule(
            state, score, patience=patience, min_delta=delta, cooldown=cooldown, reducible=reducible[epoch]
        )
        best = score if improves(score, best, delta) else best
        assert state.best == best
        if verdict.reduce:
            assert reducible[epoch]
            assert not verdict.improved
            assert last is None or epoch - last >= max(patience, 1) + max(cooldown - 1, 0)
            last = epoch


@given(st.lists(st.integers(1, 7), min_size=1, max_size=8), st.integers(1, 9))
def test_interval_counts_batches_across_epochs(lengths: list[int], every: int) -> None:
    """It acts at every n-th batch of the run, whatever the lengths of its epochs."""
    state, acted, total = Intervals(), [], 0
    for length in lengths:
        for batch in range(length):
            state, due = interval_rule(state, batch, every)
            total += 1
            if due:
                acted.append(total)

    assert acted == list(range(every, total + 1, every))


@pytest.mark.parametrize("rule", ["stopping", "plateau", "best"])
@given(st.lists(histories, min_size=1, max_size=5), st.data())
def test_arrays_step_as_scalars_do(rule: str, runs: list[list[float]], data) -> None:
    """Stepping many runs and settings at once gives the same as stepping each alone."""
    length = max(map(len, runs))
    table = np.array([run + [nan] * (length - len(run)) for run in runs])
    count = len(runs)
    patience = np.array(data.draw(st.lists(st.integers(0, 4), min_size=count, max_size=count)))
    delta = np.array(data.draw(st.lists(deltas, min_size=count, max_size=count)))

    def step(state, score, epoch: int, patience, delta):
        if rule == "stopping":
            return stopping_rule(state, score, epoch, patience=patience, min_delta=delta, start_from_epoch=1)
        if rule == "plateau":
            return plateau_rule(state, score, patience=patience, min_delta=delta, cooldown=2)
        return best_rule(state, score, epoch)

    start = {"stopping": Patience(), "plateau": Plateau(), "best": Best()}[rule]
    together, apart = start, [start] * count
    for epoch in range(length):
        together, verdicts = step(together, table[:, epoch], epoch, patience, delta)
        for i in range(count):
            apart[i], verdict = step(apart[i], float(table[i, epoch]), epoch, int(patience[i]), float(delta[i]))
            for field, value in enumerate(apart[i]):
                assert np.broadcast_to(together[field], count)[i] == value
            for part, one in zip(_parts(verdicts), _parts(verdict), strict=True):
                assert np.broadcast_to(part, count)[i] == one


def _parts(verdict) -> tuple:
    return verdict if isinstance(verdict, tuple) else (verdict,)


@given(st.lists(st.integers(0, 7), max_size=30), st.integers(1, 9), st.integers(0, 30))
def test_a_count_is_acted_upon_once_for_each_reached_multiple(
    increments: list[int], every: int, broken_at: int
) -> None:
    """With steps of any size, also 0, it acts exactly at the multiples, also in a run resumed at any count."""
    count, state = 0, 0
    for number, increment in enumerate(increments):
        before, count = count, count + increment
        if number == broken_at:
            state = before  # all that a resumed run needs
        state, due = crossing_rule(state, count, every)
        assert due == any(multiple % every == 0 for multiple in range(before + 1, count + 1))


checkpoint_scores = st.floats(-3, 3).map(round) | st.floats(-9, 9) | st.sampled_from([nan, inf, -inf])
counts = st.integers(0, 4)


@st.composite
def runs(draw: st.DrawFn, names: st.SearchStrategy[str] | None = None) -> list[Kept]:
    """Checkpoints in the order in which a run offers them, each at a different path unless names are given."""
    epoch = step = 0
    offered: list[Kept] = []
    for number, score in enumerate(draw(st.lists(checkpoint_scores, max_size=20))):
        epoch, step = epoch + draw(st.integers(0, 1)), step + draw(st.integers(0, 3))
        offered.append(Kept(draw(names) if names is not None else f"m-{number}", epoch, step, score))
    return offered


def kept_of(offered: list[Kept], best: int, last: int) -> tuple[Kept, ...]:
    """Return what is kept of all checkpoints that a run offers."""
    kept: tuple[Kept, ...] = ()
    for new in offered:
        kept, _ = retention_rule(kept, new, best=best, last=last)
    return kept


@given(runs(), counts, counts)
def test_what_stays_is_the_best_and_the_last_of_all_that_was_offered(offered: list[Kept], best: int, last: int) -> None:
    """Choosing at each step keeps the same as choosing at the end: the k best, earlier before later, and the last n."""
    ranked = sorted((each for each in offered if isfinite(each.score)), key=lambda each: -each.score)
    expected = {*ranked[:best], *(offered[-last:] if last else ())}

    assert set(kept_of(offered, best, last)) == expected


@given(runs(st.sampled_from("abcd")), counts, counts)
def test_never_more_than_k_and_n_files_are_on_the_disk(offered: list[Kept], best: int, last: int) -> None:
    """Saving and forgetting by the verdict leaves exactly the files in the state, at most k + n, whatever repeats."""
    kept: tuple[Kept, ...] = ()
    disk: dict[str, Kept] = {}
    for new in offered:
        kept, verdict = retention_rule(kept, new, best=best, last=last)
        assert new.path not in verdict.forget
        if verdict.save:
            disk[new.path] = new
        for path in verdict.forget:
            del disk[path]
        assert disk == {each.path: each for each in kept}
        assert len(kept) == len(disk) <= best + last


@given(runs(st.sampled_from("abcd")), st.integers(1, 4), st.integers(1, 4))
def test_the_newest_is_always_kept_and_only_finite_scores_are_among_the_best(
    offered: list[Kept], best: int, last: int
) -> None:
    """With last, every new checkpoint is saved; a score that is not finite is never a reason to keep one."""
    kept: tuple[Kept, ...] = ()
    for new in offered:
        kept, verdict = retention_rule(kept, new, best=best, last=last)
        assert verdict.among_last
        assert new in kept
        assert isfinite(new.score) or not verdict.among_best


@given(runs(st.sampled_from("abcd")), st.integers(1, 4))
def test_the_very_best_is_never_lost_even_if_paths_repeat(offered: list[Kept], best: int) -> None:
    """Among the best alone, a worse checkpoint never replaces a better one."""
    finite = [each.score for each in offered if isfinite(each.score)]
    kept = kept_of(offered, best, 0)

    assert max((each.score for each in kept), default=None) == max(finite, default=None)


@given(runs(), counts, counts)
def test_what_is_not_saved_changes_nothing(offered: list[Kept], best: int, last: int) -> None:
    """If the new checkpoint is not kept, nothing is forgotten for it."""
    kept: tuple[Kept, ...] = ()
    for new in offered:
        before = kept
        kept, verdict = retention_rule(kept, new, best=best, last=last)
        assert verdict.save or (kept == before and verdict == Retention(among_best=False, among_last=False, forget=()))


def test_the_newer_one_has_the_later_epoch_and_step_whatever_the_order_of_arrival() -> None:
    """A checkpoint of an earlier step that arrives late is not the last."""
    later, earlier = Kept("later", 2, 20, 0.0), Kept("earlier", 1, 10, 0.0)

    kept, verdict = retention_rule((later,), earlier, last=1)

    assert kept == (later,)
    assert not verdict.save


def test_a_tighter_rule_prunes_what_an_older_one_kept() -> None:
    """If more is kept than the rule allows, as after a resume with other options, the next save forgets the rest."""
    kept = tuple(Kept(name, epoch, 0, float(epoch)) for epoch, name in enumerate("abcd"))

    left, verdict = retention_rule(kept, Kept("e", 4, 0, 9.0), best=2)

    assert [each.path for each in left] == ["d", "e"]
    assert verdict.forget == ("a", "b", "c")
