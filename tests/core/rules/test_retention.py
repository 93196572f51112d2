"""Which checkpoints are kept."""

from math import inf, isfinite, nan

from hypothesis import given
from hypothesis import strategies as st

from trainbus.rules import Kept, Retention, retention_rule

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
