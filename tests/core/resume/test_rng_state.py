"""The generators of Python, NumPy and the subject continue exactly where their state was taken."""

import random
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainbus.resume.rng_state import checked_numpy_state, get_rng_state, preserved_rng, set_rng_state
from trainbus.resume.serialization import from_json_data, to_json_data

from .generators import DrawingSubject


def drawn(subject: DrawingSubject, count: int) -> list[float]:
    """Numbers of every generator; Gaussian ones, since a generator may keep the second of a pair."""
    numbers: list[float] = []
    for _ in range(count):
        numbers += [random.gauss(), np.random.randn(), subject.generator.gauss()]  # noqa: NPY002 - the global one
    return numbers


@given(st.integers(0, 5), st.integers(1, 5))
def test_generators_continue_where_they_were(before: int, after: int) -> None:
    """Also after their state has been JSON data."""
    subject = DrawingSubject()
    drawn(subject, before)
    state = to_json_data(get_rng_state(subject))
    expected = drawn(subject, after)
    drawn(subject, before)
    set_rng_state(from_json_data(state), subject)

    assert drawn(subject, after) == expected


def test_a_state_without_a_subject_leaves_the_subject_alone() -> None:
    """A subject that had no generators then keeps its own as they are."""
    subject = DrawingSubject()
    state, own = get_rng_state(), subject.generator.getstate()
    set_rng_state(state, subject)

    assert subject.generator.getstate() == own


def test_numbers_drawn_inside_change_nothing_also_after_an_error() -> None:
    """Every generator continues as if nothing had been drawn."""
    subject = DrawingSubject()
    state = get_rng_state(subject)
    expected = drawn(subject, 2)
    set_rng_state(state, subject)
    try:
        with preserved_rng(subject):
            drawn(subject, 3)
            raise ValueError
    except ValueError:
        pass

    assert drawn(subject, 2) == expected


class MakesItsGeneratorLate:
    """A subject that draws from Python's generator when its own one is first used, as Keras does."""

    own: int | None = None

    def random_state(self) -> dict[str, int]:
        if self.own is None:
            self.own = random.randint(1, 9)
        return {"own": self.own}

    def set_random_state(self, state: dict[str, int]) -> None:
        self.random_state()
        self.own = state["own"]


@pytest.mark.parametrize("seed", range(5))
def test_a_generator_that_is_made_by_a_draw_shifts_no_other_one(seed: int) -> None:
    random.seed(seed)
    state = get_rng_state(MakesItsGeneratorLate())
    expected = random.random()
    random.seed(seed + 9)
    set_rng_state(state, MakesItsGeneratorLate())
    assert random.random() == expected


@pytest.mark.parametrize("kind", ["MT19937", "PCG64", "PCG64DXSM", "Philox", "SFC64"])
def test_the_state_of_every_generator_of_numpy_is_accepted(kind: str) -> None:
    """As it is given, and after it was stored."""
    generator = np.random.Generator(getattr(np.random, kind)(3))
    generator.random(7)
    state = generator.bit_generator.state
    assert checked_numpy_state(state) is state
    stored = checked_numpy_state(from_json_data(to_json_data(state)))
    expected = generator.random(9).tolist()
    generator.bit_generator.state = stored
    assert generator.random(9).tolist() == expected


@pytest.mark.parametrize("position", [-1, -(2**31), 625, 2**31, 10**30, 1.0, "3", None, True, [1]])
@pytest.mark.parametrize("kind", ["MT19937", "Philox"])
def test_a_position_outside_of_the_memory_is_refused(kind: str, position: Any) -> None:
    """NumPy would read there."""
    state: Any = dict(np.random.Generator(getattr(np.random, kind)(3)).bit_generator.state)
    if kind == "MT19937":
        state["state"] = {**state["state"], "pos": position}
    else:
        state["buffer_pos"] = position
    with pytest.raises(ValueError, match=rf"^the state of a {kind} generator has the position .{{1,50}}, which is not"):
        checked_numpy_state(state)


@pytest.mark.parametrize("state", [None, 3, [], {}, {"bit_generator": 3}, {"bit_generator": "MT19937"}, "MT19937"])
def test_what_is_no_state_of_numpy_is_refused(state: Any) -> None:
    """Before NumPy gets it."""
    with pytest.raises(ValueError, match=r"^the state of a"):
        checked_numpy_state(state)
