"""Every part of a state is parsed before a resume, and nothing changes by it."""

import random
import struct
from typing import Any

import numpy as np
import pytest

from trainbus.resume.checks.state_check import check_state
from trainbus.resume.rng_state import get_rng_state
from trainbus.resume.serialization import to_json_data
from trainbus.resume.state import CheckpointState, PluginState, Position, RankState

from ..generators import DrawingSubject


class Subject(DrawingSubject):
    """The same with a state, which refuses what is not its own."""

    total = 1.0

    def run_state(self) -> Any:
        return [self.total]

    def load_run_state(self, state: Any) -> None:
        (self.total,) = map(float, state)


class Counting:
    """A plugin that checks its state."""

    def state_dict(self) -> Any: ...
    def load_state_dict(self, state: Any) -> None: ...
    def check_state_dict(self, state: Any) -> None:
        if state != 3:
            raise ValueError(f"{state!r} is no count")


def state_of(of: Subject, **changes: Any) -> CheckpointState:
    generators = to_json_data(get_rng_state(of))
    rank_state = RankState(rng=generators, epoch_rng=generators, subject=[2.0], means={"loss": [1.0, 2]})
    return CheckpointState(position=Position(epochs=1), rank_state=rank_state.model_copy(update=changes))


def everything(subject: Subject) -> Any:
    numbers = np.random.get_state(legacy=False)  # noqa: NPY002 - the global one
    return [random.getstate(), str(numbers), subject.generator.getstate(), subject.total]


def test_a_check_changes_nothing() -> None:
    """Generators and subject are as before, although the state has others."""
    subject = Subject()
    state = state_of(subject)
    random.random(), subject.generator.random(), np.random.rand()  # noqa: NPY002
    before = everything(subject)
    check_state(state, {"counting": PluginState(name="counting", state_dict=3)}, {"counting": Counting()}, subject)
    assert everything(subject) == before


@pytest.mark.parametrize(
    "changes",
    [
        {"rng": {"subject": {"mine": [3, [1, 2], None]}}},
        {"rng": {"subject": {}}},
        {"rng": {"subject": 3}},
        {"epoch_rng": {"python": [3, {"$": "bytes", "value": ""}, None]}},
        {"loop_rng": {"numpy": {"bit_generator": "MT19937", "state": {"key": [0] * 624, "pos": 625}}}},
        {"subject": ["x"]},
        {"subject": [1.0, 2.0]},
        {"subject": {"$": "zzz"}},
        {"means": {"loss": ["nan", 1]}},
        {"means": {"loss": [1.0, -1]}},
        {"means": {"loss": [None, 1]}},
        {"means": {"loss": [10**400, 1]}},
        {"loaders": [{"$": "zzz"}]},
    ],
)
def test_a_damaged_state_of_a_rank_is_refused_and_changes_nothing(changes: dict[str, Any]) -> None:
    """Also if one of its generators was set already."""
    subject = Subject()
    state = state_of(subject, **changes)
    before = everything(subject)
    with pytest.raises((ValueError, TypeError, KeyError, struct.error)):
        check_state(state, {}, {}, subject)
    assert everything(subject) == before


@pytest.mark.parametrize("saved", [4, "x", [3], {}, 0])
def test_a_refused_state_names_its_plugin(saved: Any) -> None:
    """A plugin without a state has nothing to check, nor has one without the method."""
    subject = Subject()
    states = {"counting": PluginState(name="counting", state_dict=saved)}
    with pytest.raises(ValueError, match=r"^the state of counting is damaged: .* is no count$"):
        check_state(state_of(subject), states, {"counting": Counting()}, subject)
    check_state(state_of(subject), states, {"counting": object()}, subject)
    check_state(state_of(subject), {"counting": PluginState(name="counting")}, {"counting": Counting()}, subject)
