"""Directories of Orbax, which Orbax itself restores."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("jax")
pytest.importorskip("optax")
pytest.importorskip("orbax.checkpoint")

import jax
import jax.numpy as jnp
import orbax.checkpoint as ocp

from trainbus import CheckpointError, Run, UnreadableCheckpoint
from trainbus.adapters.jax import JaxSubject
from trainbus.plugins import EarlyStopping, ModelCheckpoint
from trainbus.testing import check_subject

from .states import STATES, nnx_subject, nnx_training, same, trained, zero
from .trainings import new_state, train


@pytest.mark.parametrize("kind", STATES)
@pytest.mark.parametrize("background", [False, pytest.param(True, marks=pytest.mark.exhaustive)])
def test_every_state_is_restored_bit_for_bit(kind: str, background: bool) -> None:
    subject = JaxSubject(STATES[kind]())
    path = Path("state.orbax")
    path.mkdir()
    if background:
        subject.snapshot_writer(weights_only=False)(path)
    else:
        subject.save(path, weights_only=False)
    expected = subject.state
    other = JaxSubject(jax.tree.map(zero, expected))
    other.load(path)

    assert same(other.state, expected)


def saved_by_a_run(subject: JaxSubject, **options: Any) -> Path:
    """Save two epochs into one directory; return the checkpoint of Orbax inside of it."""
    with Run(subject, ModelCheckpoint("best.orbax", **options), verbose=0) as run:
        for _ in run.epochs(2):
            trained(subject)
            run.log(loss=1.0)
    (directory,) = Path("best.orbax").glob("shards-*")
    return directory.absolute()


def test_orbax_restores_the_state_in_its_own_structure() -> None:
    subject = JaxSubject(new_state())
    directory = saved_by_a_run(subject)
    arrays = {name: value for name, value in subject.state.items() if name != "key"}
    words = {**arrays, "key": np.asarray(jax.random.key_data(subject.state["key"]))}

    restored = ocp.StandardCheckpointer().restore(directory, words)

    assert same({**restored, "key": jax.random.wrap_key_data(restored["key"])}, subject.state)


def test_orbax_restores_the_weights_as_they_are_nested() -> None:
    subject = JaxSubject(new_state())
    restored = ocp.StandardCheckpointer().restore(saved_by_a_run(subject, save_weights_only=True))

    assert same(jax.tree.map(jnp.asarray, restored), subject.state["params"])


def test_flax_restores_its_train_state() -> None:
    train_state = pytest.importorskip("flax.training.train_state")
    optax = pytest.importorskip("optax")
    new = new_state()
    tx = optax.inject_hyperparams(optax.adam)(learning_rate=0.1)
    subject = JaxSubject(train_state.TrainState.create(apply_fn=lambda *_: None, params=new["params"], tx=tx))
    Path("flax.orbax").mkdir()
    subject.save("flax.orbax", weights_only=False)
    (directory,) = Path("flax.orbax").glob("shards-*")

    restored = ocp.StandardCheckpointer().restore(directory.absolute(), subject.state)

    assert type(restored) is type(subject.state)
    assert same(restored.params, subject.state.params)


def test_a_module_of_flax_nnx_comes_back_in_place() -> None:
    subject, train_nnx = nnx_subject(), nnx_training()
    Path("nnx.orbax").mkdir()
    subject.save("nnx.orbax", weights_only=False)
    losses = train_nnx(subject)
    subject.load("nnx.orbax")

    assert train_nnx(subject) == losses


@pytest.mark.exhaustive
def test_it_keeps_the_contract_of_a_subject() -> None:
    class InDirectories(JaxSubject):
        def suffixes(self, *, weights_only: bool) -> tuple[str]:
            return (".orbax",)

    check_subject(lambda: InDirectories(new_state()), trained)


def test_a_resumed_training_is_exact() -> None:
    """Its best weights are directories of Orbax, too."""

    def callbacks(folder: str) -> list[Any]:
        best = EarlyStopping(patience=9, restore_best_weights=True)
        return [best, ModelCheckpoint(f"{folder}/last-{{epoch}}.orbax", keep_last=2)]

    np.random.seed(1)  # noqa: NPY002
    whole = train(callbacks("whole"), epochs=4)
    np.random.seed(1)  # noqa: NPY002
    train(callbacks("part"), epochs=2)
    again = train(callbacks("part"), epochs=4, resume="auto")

    assert again.history == whole.history
    assert same(again.subject.state, whole.subject.state)
    assert len([*Path("part").glob("last-*.orbax")]) == 2


def damaged_index(path: Path, **changes: Any) -> None:
    index = json.loads((path / "index.json").read_text())
    (path / "index.json").write_text(json.dumps({**index, **changes}))


def test_a_damaged_directory_is_refused_and_changes_nothing() -> None:
    def emptied(path: Path) -> None:
        for each in path.rglob("*"):
            if each.is_file() and each.name != "index.json":
                each.write_bytes(b"")

    damages = [
        lambda path: (path / "index.json").unlink(),
        lambda path: (path / "index.json").write_text("{"),
        lambda path: damaged_index(path, folder="../elsewhere"),
        lambda path: damaged_index(path, folder="shards-0"),
        lambda path: damaged_index(path, arrays={"params/w": ["float32", [3]]}),
        emptied,
    ]
    for number, damage in enumerate(damages):
        path = Path(f"{number}.orbax")
        path.mkdir()
        subject = JaxSubject({"params": {"w": jnp.arange(3.0), "b": jnp.ones(1)}})
        subject.save(path, weights_only=False)
        damage(path)
        before = subject.state
        with pytest.raises((UnreadableCheckpoint, CheckpointError)):
            subject.load(path)
        assert subject.state is before


def test_a_directory_of_another_state_is_refused_before_its_arrays_are_read() -> None:
    Path("a.orbax").mkdir()
    JaxSubject({"params": {"w": jnp.ones(3)}}).save("a.orbax", weights_only=False)
    with pytest.raises(CheckpointError, match=r"'params/w' has the shape \(3,\)"):
        JaxSubject({"params": {"w": jnp.ones(4)}}).load("a.orbax")


def test_names_that_orbax_takes_for_one_are_refused() -> None:
    Path("a.orbax").mkdir()
    state = {"x.y": jnp.ones(1), "x": {"y": jnp.zeros(1)}}
    with pytest.raises(CheckpointError, match=r"Orbax takes .* for one name; save to \.npz"):
        JaxSubject(state).save("a.orbax", weights_only=False)
