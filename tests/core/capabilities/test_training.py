"""What a training changes or remembers: learning rates, directions of metrics, random generators, states."""

import json
import random
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import SGDClassifier
from typing_extensions import get_protocol_members

from tests.core.metrics.sources import Source
from trainbus import Run, SettingsError, UnknownDirection, hookimpl
from trainbus.capabilities import (
    ChecksTraining,
    HasDirections,
    HasLearningRate,
    HasOptimizerOptions,
    HasRandomState,
    HasRunState,
    HasStateDict,
    has,
)
from trainbus.metrics.monitor import Monitor
from trainbus.plugins import ModelCheckpoint
from trainbus.resume.rng_state import get_rng_state, set_rng_state
from trainbus.resume.serialization import from_json_data, to_json_data
from trainbus.testing import LineSubject

from .declared import assert_takes_declared_arguments, implementers

METHODS = {
    HasLearningRate: {"learning_rates", "set_learning_rates"},
    HasOptimizerOptions: {"optimizer_options"},
    ChecksTraining: {"check_training"},
    HasDirections: {"direction_of"},
    HasRandomState: {"random_state", "set_random_state"},
    HasStateDict: {"state_dict", "load_state_dict"},
    HasRunState: {"run_state", "load_run_state"},
}
"""Each capability and its methods."""

plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
)


@pytest.mark.parametrize("capability", METHODS)
def test_the_methods_of_each_capability(capability: type) -> None:
    """One that reads and one that sets, but for directions, which are only read."""
    assert get_protocol_members(capability) == METHODS[capability]


@pytest.mark.parametrize(("capability", "kind"), [(each, kind) for each in METHODS for kind in implementers(each)])
def test_subjects_take_the_declared_arguments(capability: type, kind: type) -> None:
    """Which ``isinstance`` does not compare."""
    assert_takes_declared_arguments(kind, capability)


@pytest.mark.parametrize("model", [torch.nn.Linear(1, 1), torch.optim.SGD([torch.zeros(1)]), SGDClassifier()])
def test_the_state_dict_of_a_framework_is_no_run_state(model: object) -> None:
    """A model whose ``state_dict`` holds its weights is not taken for a subject that remembers something else."""
    assert not has(model, HasRunState)


@given(st.dictionaries(st.sampled_from(["learning_rate", "another"]), st.floats(0, 9)))
def test_only_named_learning_rates_are_set(rates: dict[str, float]) -> None:
    """A rate that is not named keeps its value."""
    subject = LineSubject(0.25)
    subject.set_learning_rates(rates)
    assert subject.learning_rates() == {"learning_rate": rates.get("learning_rate", 0.25)}


class Directed(LineSubject):
    """A subject whose metric object declares a direction, or none."""

    def __init__(self, direction: Literal["min", "max"] | None) -> None:
        super().__init__()
        self.direction = direction

    def direction_of(self, metric: str) -> Literal["min", "max"] | None:
        return self.direction


@pytest.mark.parametrize("declared", ["min", "max", None])
@pytest.mark.parametrize(("metric", "named"), [("val_loss", "min"), ("accuracy", "max"), ("thing", None)])
def test_a_declared_direction_comes_before_the_name(
    declared: Literal["min", "max"] | None, metric: str, named: str | None
) -> None:
    """The name decides only for a metric object without a direction; if neither decides, the metric is refused."""
    monitor = Monitor(Source(subject=Directed(declared)), metric)
    if declared or named:
        assert monitor.direction == (declared or named)
        return
    with pytest.raises(UnknownDirection, match="'thing'"):
        monitor.direction  # noqa: B018


class Drawing(LineSubject):
    """A subject that draws from a generator that nobody else knows."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.generator = random.Random(seed)

    def random_state(self) -> Mapping[str, Any]:
        version, words, gauss = self.generator.getstate()
        return {"version": version, "words": np.array(words), "gauss": gauss}

    def set_random_state(self, state: Mapping[str, Any]) -> None:
        self.generator.setstate((state["version"], tuple(state["words"].tolist()), state["gauss"]))


@given(st.integers(0, 99), st.integers(0, 5), st.integers(0, 5))
def test_generators_continue_where_they_were(seed: int, before: int, after: int) -> None:
    """After their state was written as JSON and read again, whatever was drawn since."""
    subject = Drawing(seed)
    for _ in range(before):
        subject.generator.gauss()
    text = json.dumps(to_json_data(get_rng_state(subject)))
    expected = [subject.generator.gauss() for _ in range(after)]
    set_rng_state(from_json_data(json.loads(text)), subject)
    assert [subject.generator.gauss() for _ in range(after)] == expected


class Remembers:
    """A plugin with any state."""

    def __init__(self, state: Any) -> None:
        self.state = state

    @hookimpl
    def on_epoch_end(self) -> None: ...

    def state_dict(self) -> Any:
        return self.state

    def load_state_dict(self, state: Any) -> None:
        self.state = state


class RemembersToo(LineSubject):
    """A subject with any state that its files do not hold."""

    def __init__(self, state: Any) -> None:
        super().__init__()
        self.state = state

    def run_state(self) -> Any:
        return self.state

    def load_run_state(self, state: Any) -> None:
        self.state = state


@given(plain, plain)
def test_a_resumed_run_has_the_states_of_the_first(
    tmp_path_factory: pytest.TempPathFactory, of_plugin: Any, of_subject: Any
) -> None:
    """Plain data of plugin and subject comes back as it was saved; None means that there was no state."""
    saver = ModelCheckpoint(str(tmp_path_factory.mktemp("run") / "last"))
    with Run(RemembersToo(of_subject), [saver, Remembers(of_plugin)], verbose=0) as run:
        for _ in run.epochs(1):
            run.log(loss=1.0)
    again, plugin = RemembersToo("none yet"), Remembers("none yet")
    with Run(again, [saver, plugin], verbose=0, resume="auto") as run:
        for _ in run.epochs(2):
            run.log(loss=1.0)

    assert run.resumed is not None
    assert plugin.state == ("none yet" if of_plugin is None else of_plugin)
    assert again.state == ("none yet" if of_subject is None else of_subject)


@pytest.mark.parametrize("tensor", [np.zeros(2), torch.zeros(2)])
def test_a_plugin_that_remembers_a_tensor_is_refused(tensor: object) -> None:
    """When the run begins, by its name and by the place of the tensor; a subject may remember arrays."""
    run = Run(RemembersToo(np.zeros(2)), [Remembers({"momentum": [tensor]})], verbose=0)
    with pytest.raises(SettingsError, match=r"Remembers: state_dict\(\): .*'momentum'.*0"), run:
        pass
