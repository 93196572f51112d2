"""The batches at whose end a look is due."""

import time

from hypothesis import given
from hypothesis import strategies as st

from trainbus.plugins.comparison.look_frequency import LookFrequency
from trainbus.plugins.comparison.look_schedule import LookSchedule


@given(st.lists(st.integers(0, 4), max_size=30), st.integers(1, 7), st.integers(0, 30), st.integers(0, 5))
def test_looks_are_due_at_multiples_of_steps(increments: list[int], every: int, broken: int, first: int) -> None:
    """Also in a run that is resumed at any batch, and in one that begins at another step."""
    schedule, step = LookSchedule(LookFrequency(every, "step"), first), first
    for number, increment in enumerate(increments):
        before, step = step, step + increment
        if number == broken:
            saved = schedule.state_dict()
            schedule = LookSchedule(LookFrequency(every, "step"), before)
            schedule.load_state_dict(saved)
        assert schedule.is_due(step) == any(each % every == 0 for each in range(before + 1, step + 1))


@given(st.integers(1, 90), st.integers(1, 3600))
def test_minutes_pass_in_a_resumed_run(every: int, passed: int) -> None:
    """The clock goes on from where the checkpoint was saved; what passes between is not counted."""
    schedule = LookSchedule(LookFrequency(every, "minute"), 0)
    schedule.since -= passed
    saved = schedule.state_dict()
    resumed = LookSchedule(LookFrequency(every, "minute"), 9)
    resumed.load_state_dict(saved)

    assert saved["passed"] >= passed
    assert resumed.is_due(10) == (passed >= 60 * every)


def test_minutes_count_anew_after_each_look() -> None:
    """Not at multiples: a look that comes late delays the next."""
    schedule = LookSchedule(LookFrequency(2, "minute"), 0)
    assert not schedule.is_due(1)
    schedule.since = time.monotonic() - 500
    assert schedule.is_due(2)
    assert not schedule.is_due(3)
    assert not schedule.is_due(100)
