"""Whether a state is still the one that was given."""

from __future__ import annotations

import gc
from typing import Any

import numpy as np
import pytest

pytest.importorskip("jax")

import jax
import jax.numpy as jnp
import optax

import trainbus
from trainbus import LoopError
from trainbus.adapters.jax import JaxSubject
from trainbus.adapters.jax.unchanged import Unchanged
from trainbus.plugins import ModelCheckpoint, ReduceLROnPlateau


@pytest.mark.parametrize(
    ("state", "same"),
    [
        ({"w": jnp.ones(2), "step": 0}, True),
        ([jnp.ones(2), jax.random.key(0)], True),
        ({"w": np.ones(2)}, False),  # NumPy's arrays are changed in place
        ({"w": np.ones(2), "v": jnp.ones(2)}, False),
        ({"step": 0}, False),
    ],
)
def test_the_same_arrays_are_recognised_unless_they_can_change_in_place(state: Any, same: bool) -> None:
    unchanged = Unchanged(state)
    assert unchanged.holds(state) == same
    assert unchanged.holds(dict(state) if isinstance(state, dict) else list(state)) == same
    assert not unchanged.holds(jax.tree.map(lambda leaf: leaf if leaf is state else leaf * 1, {"w": jnp.ones(2)}))


def test_one_new_array_in_the_same_mapping_is_a_change() -> None:
    """Also if it takes the memory of the old one."""
    state = {"w": jnp.ones(2)}
    unchanged = Unchanged(state)
    for _ in range(3):
        state["w"] = state["w"] + 1
        gc.collect()
        assert not unchanged.holds(state)


def _state() -> dict[str, Any]:
    params = {"w": jnp.ones(3)}
    return {"params": params, "opt_state": optax.inject_hyperparams(optax.sgd)(0.1).init(params)}


@jax.jit
def _step(state: Any) -> Any:
    return {**state, "params": {"w": state["params"]["w"] * 0.9}}


def _train(assigns: str, loop: str = "epochs", **options: Any) -> JaxSubject:
    subject = JaxSubject(_state())
    cut = ReduceLROnPlateau(monitor="loss", patience=0, factor=0.5)
    with trainbus.Run(subject, [ModelCheckpoint("m"), cut], verbose=0, **options) as run:
        state = subject.state
        batches = (
            run.steps(range(9), 4, validate_every=2)
            if loop == "steps"
            else (batch for _ in run.epochs(3) for batch in run.batches(range(2)))
        )
        for _ in batches:
            state = _step(state)
            if assigns == "the state":
                subject.state = state
            elif assigns == "a part":
                subject.state["params"] = state["params"]
            run.log(loss=1.0)
            if loop == "steps" and run.validation_due:
                with run.validation():
                    run.log(loss=1.0)
    return subject


@pytest.mark.parametrize("loop", ["epochs", "steps"])
def test_a_loop_that_keeps_the_state_for_itself_is_refused(
    loop: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    """At the end of the first epoch, before it is saved."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(LoopError, match=r"assign the new one after each step: subject.state = new_state"):
        _train("nothing", loop)
    assert not list(tmp_path.glob("m*"))


@pytest.mark.parametrize("assigns", ["the state", "a part"])
def test_a_loop_that_assigns_it_trains_and_resumes(
    assigns: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    _train(assigns)
    subject = _train(assigns, resume="auto")
    assert subject.state["params"]["w"].tolist() == pytest.approx([0.9**6] * 3)


def test_what_the_run_changes_is_no_training(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    """A restored file or a cut rate makes new arrays, too."""
    monkeypatch.chdir(tmp_path)
    subject = JaxSubject(_state())
    subject.set_learning_rates({"learning_rate": 0.01})
    subject.restore(subject.snapshot())
    with pytest.raises(LoopError, match="assign the new one"):
        subject.check_training()
