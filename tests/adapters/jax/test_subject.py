"""A JAX training is a subject: pytrees, random keys, optax's rates, modules of Flax NNX."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("jax")
pytest.importorskip("optax")

import jax
import jax.numpy as jnp
import optax

import trainbus
from trainbus import CheckpointError, MissingCapability, MissingMetric, Run, SettingsError, UnreadableCheckpoint
from trainbus.adapters.jax import JaxSubject
from trainbus.plugins import EarlyStopping, LearningRateScheduler, ModelCheckpoint, ReduceLROnPlateau, TensorBoard
from trainbus.testing import check_subject

from .states import STATES, nnx_subject, nnx_training, same, trained, zero
from .trainings import X, Y, donated_step, new_state, rules, train

ROOT = Path(__file__).parents[3]


def test_it_keeps_the_contract_of_a_subject() -> None:
    check_subject(lambda: JaxSubject(new_state()), trained)


@pytest.mark.exhaustive
def test_objects_of_flax_nnx_keep_the_contract() -> None:
    """They are changed in place: batch statistics, the generators of dropout, the state of the optimizer."""
    check_subject(nnx_subject, nnx_training())


def test_objects_of_flax_nnx_come_back_in_place() -> None:
    """The script's own references stay valid."""
    subject, train_nnx = nnx_subject(), nnx_training()
    model, snapshot = subject.state["model"], subject.snapshot()
    subject.save("a.npz", weights_only=False)
    losses = train_nnx(subject)
    subject.restore(snapshot)
    assert np.array_equal(model.first.kernel[...], snapshot["first/kernel"])
    subject.load("a.npz")
    assert subject.state["model"] is model
    assert train_nnx(subject) == losses
    subject.set_learning_rates({"learning_rate": 0.5})
    assert subject.learning_rates() == {"learning_rate": 0.5}


def test_watch_finds_the_adapter_of_a_module_of_flax() -> None:
    subject = nnx_subject()
    run = trainbus.watch(subject.state["model"], subject.state["optimizer"], callbacks=EarlyStopping())
    assert isinstance(run.subject, JaxSubject)
    assert run.subject.state["model"] is subject.state["model"]


@pytest.mark.parametrize("kind", STATES)
@pytest.mark.parametrize(
    ("suffix", "background"),
    [
        (".npz", False),
        (".safetensors", True),
        pytest.param(".ckpt", False, marks=pytest.mark.exhaustive),
        pytest.param(".npz", True, marks=pytest.mark.exhaustive),
        pytest.param(".safetensors", False, marks=pytest.mark.exhaustive),
    ],
)
def test_every_state_is_restored_bit_for_bit(kind: str, suffix: str, background: bool) -> None:
    subject = JaxSubject(STATES[kind]())
    path = Path(f"state{suffix}")
    write = subject.snapshot_writer(weights_only=False) if background else None
    if write is None:
        subject.save(path, weights_only=False)
    else:
        write(path)
    expected, snapshot = subject.state, subject.snapshot()
    other = JaxSubject(jax.tree.map(zero, expected))
    other.restore(snapshot)
    other.load(path)
    assert same(other.state, expected)


def test_what_safetensors_cannot_hold_is_refused() -> None:
    subject = JaxSubject({"params": np.ones(1, "complex128")})
    with pytest.raises(CheckpointError, match=r"complex128.*save to \.npz"):
        subject.save("a.safetensors", weights_only=True)
    subject.save("a.npz", weights_only=True)
    subject.load("a.npz")


def test_weights_have_the_names_that_numpy_reads() -> None:
    """A file of weights is an archive of arrays; one that ``np.savez`` wrote is read."""
    subject = JaxSubject(new_state())
    subject.save("weights.npz", weights_only=True)
    with np.load("weights.npz") as file:
        assert np.array_equal(file["hidden/kernel"], subject.state["params"]["hidden"]["kernel"])
        arrays = {name: file[name] + 1 for name in file.files if name != "trainbus"}
    np.savez("own.npz", **arrays)
    before = subject.state["opt_state"]
    subject.load("own.npz")
    assert np.array_equal(subject.state["params"]["out"]["bias"], arrays["out/bias"])
    assert subject.state["opt_state"] is not None
    assert same(subject.state["opt_state"], before)


def with_out(state: Any, kernel: Any, bias: Any) -> Any:
    return {**state, "params": {**state["params"], "out": {"kernel": kernel, "bias": bias}}}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: {**state, "more": jnp.ones(1)}, "it has no 'more'"),
        (lambda state: {"params": state["params"]}, "the present one has no"),
        (lambda state: {**state, "key": jax.random.key(0, impl="rbg")}, "'key' has the shape"),
        (lambda state: with_out(state, jnp.ones((4, 2)), jnp.zeros(1)),
         r"'params/out/kernel' has the shape \(4, 1\)"),
        (lambda state: with_out(state, jnp.ones((4, 1)), np.zeros(1)),
         "'params/out/bias' .* float64 are needed"),
    ],
)  # fmt: skip
def test_a_file_of_another_state_is_refused_and_changes_nothing(change: Callable[[Any], Any], message: str) -> None:
    JaxSubject(new_state()).save("a.npz", weights_only=False)
    state = change(new_state(5))
    other = JaxSubject(state)
    with pytest.raises(CheckpointError, match=message):
        other.load("a.npz")
    assert other.state is state


@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
def test_a_damaged_file_is_refused_and_changes_nothing(suffix: str) -> None:
    path = Path(f"a{suffix}")
    subject = JaxSubject(new_state())
    subject.save(path, weights_only=False)
    whole = path.read_bytes()
    for damaged in (b"", whole[:100], whole[: len(whole) // 2], b"x" * 500):
        path.write_bytes(damaged)
        before = subject.state
        with pytest.raises(UnreadableCheckpoint):
            subject.load(path)
        assert subject.state is before


def test_a_background_copy_survives_donated_arrays() -> None:
    subject = JaxSubject(new_state())
    expected = np.array(subject.state["params"]["hidden"]["kernel"])
    write, snapshot = subject.snapshot_writer(weights_only=True), subject.snapshot()
    for _ in range(5):
        subject.state, _ = donated_step(subject.state, X, Y)
    write(Path("late.npz"))
    with np.load("late.npz") as file:
        assert np.array_equal(file["hidden/kernel"], expected)
    assert np.array_equal(snapshot["hidden/kernel"], expected)


def test_rates_are_those_of_inject_hyperparams() -> None:
    subject = JaxSubject(new_state())
    assert subject.learning_rates() == {"learning_rate": float(np.float32(0.1))}
    subject.set_learning_rates({"learning_rate": 0.05})
    assert subject.rounded_learning_rates({"learning_rate": 0.05}) == subject.learning_rates()
    trained(subject)
    assert subject.learning_rates() == {"learning_rate": float(np.float32(0.05))}
    two = JaxSubject({"params": {"w": jnp.ones(1)}, "a": new_state()["opt_state"], "b": new_state()["opt_state"]})
    assert set(two.learning_rates()) == {"learning_rate/a", "learning_rate/b"}
    two.set_learning_rates({"learning_rate/b": 0.5})
    assert two.learning_rates() == {"learning_rate/a": float(np.float32(0.1)), "learning_rate/b": 0.5}
    with pytest.raises(SettingsError, match="no learning rate is named 'c'"):
        two.set_learning_rates({"c": 1.0})


@pytest.mark.parametrize("callback", [ReduceLROnPlateau(), LearningRateScheduler(lambda epoch: 0.1)])
@pytest.mark.parametrize(
    ("optimizer", "message"),
    [
        (optax.adam(0.1), "inject_hyperparams"),
        (optax.sgd(0.1), "inject_hyperparams"),
        (optax.inject_hyperparams(optax.adam)(learning_rate=optax.linear_schedule(1, 0, 9)), "is a schedule of optax"),
    ],
)
def test_a_rate_that_cannot_be_set_is_refused(callback: Any, optimizer: Any, message: str) -> None:
    params = {"w": jnp.ones(2)}
    with pytest.raises(MissingCapability, match=message):
        Run(JaxSubject({"params": params, "opt_state": optimizer.init(params)}), callback)


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        (({"params": "text"},), {}, "'params' of the state is of the type str"),
        (({"params": object()},), {}, "of the type object"),
        (({},), {}, "no arrays"),
        ((None,), {}, "no arrays"),
        (({"params": {"a/b": 1.0, "a": {"b": 2.0}}},), {}, "two leaves with the name 'params/a/b'"),
        (({"net": {"w": 1.0}, "opt": {"m": 1.0}},), {"weights": "model"}, "its parts are net, opt"),
    ],
)
def test_wrong_states_are_refused(arguments: Any, options: Any, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        JaxSubject(*arguments, **options)


def test_the_part_that_is_the_model_can_be_chosen() -> None:
    state = {"net": {"w": jnp.ones(1)}, "opt": {"m": jnp.zeros(1)}}
    assert [name for name, _ in JaxSubject(state, weights="net").weights()] == ["w"]
    assert [name for name, _ in JaxSubject(state).weights()] == ["net/w", "opt/m"]
    assert [name for name, _ in JaxSubject(state, weights="net/w").weights()] == ["net/w"]


def test_the_callbacks_act() -> None:
    """They stop, cut, save, restore the best weights, and draw histograms."""
    run = train(rules(TensorBoard("logs", histogram_freq=1, write_graph=False, write_images=False)))
    history = run.history
    assert len(history["val_loss"]) < 6
    assert history["learning_rate"][-1] < history["learning_rate"][0]
    assert any(Path("logs").rglob("events*"))
    best = JaxSubject(new_state(9))
    best.load("best.npz")
    assert same(best.state["params"], run.subject.state["params"])


@pytest.mark.parametrize("donate", [False, True])
def test_a_resumed_training_is_exact(donate: bool) -> None:
    """Also with donated arrays, whose memory the next step takes."""
    np.random.seed(1)  # noqa: NPY002
    whole = train(ModelCheckpoint("whole/last.npz"), epochs=4, donate=donate)
    np.random.seed(1)  # noqa: NPY002
    train(ModelCheckpoint("part/last.npz"), epochs=2, donate=donate)
    again = train(ModelCheckpoint("part/last.npz"), epochs=4, donate=donate, resume="auto")
    assert again.history == whole.history
    assert same(again.subject.state, whole.subject.state)


def test_a_wrong_name_of_a_metric_is_refused() -> None:
    with pytest.raises(MissingMetric, match="did you mean 'val_loss'"):
        train(EarlyStopping(monitor="val_los", mode="min"))


@pytest.mark.exhaustive
@pytest.mark.parametrize(
    "arguments",
    [["epoch", "on_epoch_end", "on_checkpoint"], ["1", "on_batch_end"], ["2", "on_batch_end", "on_epoch_begin"]],
)
def test_a_killed_training_resumes_exactly(arguments: list[str]) -> None:
    """In a new process, which forks before JAX has begun."""
    command = [sys.executable, "-m", "tests.adapters.jax.trainings", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
