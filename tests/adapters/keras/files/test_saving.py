"""Keras files that are written later are those that Keras itself would have written."""

import zipfile
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest
from keras import layers

from tests.core.storage.dying import in_child
from tests.reliability.crafted import outcome_of
from trainbus import CheckpointError, Run, SettingsError
from trainbus.adapters.keras import KerasCallback
from trainbus.adapters.keras.subject import KerasSubject
from trainbus.checkpoints import read
from trainbus.plugins import ModelCheckpoint

X = np.random.default_rng(0).normal(size=(16, 4)).astype("float32")

FORKS = pytest.mark.skipif(
    keras.backend.backend() == "jax", reason="JAX refuses forks; what is tested does not depend on the backend"
)


@keras.saving.register_keras_serializable()
class Words(layers.Layer):
    """A layer that stores its own state: a number next to its weights, and a text as an asset."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.counted, self.text = np.zeros(3), ""

    def build(self, shape: Any) -> None:
        self.scale = self.add_weight(shape=(shape[-1],), initializer="ones")

    def call(self, inputs: Any) -> Any:
        return inputs * self.scale

    def save_own_variables(self, store: Any) -> None:
        super().save_own_variables(store)
        store["counted"], store["dropped"] = self.counted, 1.0
        assert "dropped" in store
        assert len(store) == len(list(store.keys())) == 3
        store["twice"] = 2 * store["counted"]
        del store["dropped"]

    def load_own_variables(self, store: Any) -> None:
        self.scale.assign(store["0"])
        self.counted = store["counted"]
        np.testing.assert_array_equal(store["twice"], 2 * self.counted)

    def save_assets(self, dir_path: str) -> None:
        Path(dir_path, "words.txt").write_text(self.text)

    def load_assets(self, dir_path: str) -> None:
        self.text = Path(dir_path, "words.txt").read_text()


@keras.saving.register_keras_serializable()
class Own(keras.Model):
    """A model with layers in lists and dictionaries, one of them in two places."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        tied = layers.Dense(4)
        self.blocks = [tied, layers.BatchNormalization(), {"again": tied, "last": layers.Dense(4, use_bias=False)}]

    def call(self, inputs: Any) -> Any:
        return self.blocks[2]["last"](self.blocks[1](self.blocks[2]["again"](self.blocks[0](inputs))))


def sequential() -> Any:
    dropout = layers.Dropout(0.3, seed=1)
    model = keras.Sequential([keras.Input((4,)), layers.Dense(4), dropout, Words(), layers.Dense(4)])
    model.compile("adam", "mse", metrics=["mae"])
    return model


def functional() -> Any:
    inputs = keras.Input((4,))
    inner = keras.Sequential([layers.Dense(4, name="same"), layers.BatchNormalization()], name="inner")
    middle = layers.concatenate([inner(inputs), layers.Dense(3, name="same")(inputs)])
    model = keras.Model(inputs, [layers.Dense(4, name="a")(middle), layers.Dense(4, name="b")(middle)])
    averaged = keras.backend.backend() != "jax"  # there Keras itself cannot fit a second time with averages
    model.compile(keras.optimizers.SGD(0.1, momentum=0.9, use_ema=averaged), ["mse", "mae"])
    return model


def subclassed() -> Any:
    model = Own()
    model.compile(keras.optimizers.LossScaleOptimizer(keras.optimizers.Adam()), "mse")
    return model


def narrow() -> Any:
    model = keras.Sequential([keras.Input((4,)), layers.Dense(4, dtype="bfloat16"), layers.Dense(4, dtype="float16")])
    model.compile("rmsprop", "mse")
    return model


def several_optimizers() -> Any:
    model = keras.Sequential([keras.Input((4,)), layers.Dense(4), layers.Dense(4)])
    kinds = keras.optimizers.OptimizerMap(keras.optimizers.SGD(0.1, momentum=0.9), {".*bias": keras.optimizers.Adam()})
    model.compile(keras.optimizers.MultiOptimizer(kinds), "mse")
    return model


def uncompiled() -> Any:
    return keras.Sequential([keras.Input((4,)), layers.Dense(4), layers.GaussianNoise(0.1, seed=1)])


MODELS = [sequential, functional, subclassed, narrow, several_optimizers, uncompiled]


def train(model: Any) -> None:
    """Train some steps, and change all state that layers hold next to their weights."""
    if getattr(model, "optimizer", None) is not None:
        model.fit(X, [X] * len(model.outputs) if len(getattr(model, "outputs", [0])) > 1 else X, verbose=0)
    else:
        model.set_weights([weight + 1 for weight in model.get_weights()])
    for layer in model.layers:
        if isinstance(layer, Words):
            layer.counted, layer.text = layer.counted + 1, layer.text + "word "


def stored(file: Any) -> list[Any]:
    """Return names, attributes, types and values of an HDF5 file, in its order."""
    found: list[Any] = []

    def note(name: str, each: Any) -> None:
        value = (each.dtype.str, each.shape, each[()].tobytes()) if isinstance(each, h5py.Dataset) else None
        found.append((name, {key: str(text) for key, text in each.attrs.items()}, value))

    with h5py.File(file, "r") as opened:
        opened.visititems(note)
    return found


def archived(path: Path) -> dict[str, Any]:
    """Return the entries of a ``.keras`` file, without the date."""
    with zipfile.ZipFile(path) as archive:
        entries: dict[str, Any] = {name: archive.read(name) for name in archive.namelist()}
        with archive.open("model.weights.h5") as weights:
            entries["model.weights.h5"] = stored(weights)
    entries["metadata.json"] = entries["metadata.json"].partition(b"date_saved")[0]
    return entries


def everything(model: Any) -> list[Any]:
    """Return all variables of a model and its optimizer, and the other state of its layers."""
    variables = [*model.variables, *getattr(getattr(model, "optimizer", None), "variables", ())]
    held = [(each.counted.tolist(), each.text) for each in model.layers if isinstance(each, Words)]
    return [*(keras.ops.convert_to_numpy(each).tobytes() for each in variables), *held]


@pytest.mark.parametrize("make", MODELS)
@pytest.mark.covering(1)
def test_a_file_that_is_written_later_equals_keras_own_of_that_step(make: Callable[[], Any], tmp_path: Path) -> None:
    """The file equals Keras's, entry by entry and bit by bit, though the model trains on, also with reused memory."""
    model = make()
    subject = KerasSubject(model)
    for number in range(2):
        train(model)
        theirs, ours = tmp_path / f"theirs{number}", tmp_path / f"ours{number}"
        model.save(theirs.with_suffix(".keras"))
        model.save_weights(theirs.with_suffix(".weights.h5"))
        writes = [subject.snapshot_writer(weights_only=weights_only) for weights_only in (False, True)]
        train(model)
        for write, suffix in zip(writes, (".keras", ".weights.h5"), strict=True):
            write(ours.with_suffix(suffix))

        assert stored(ours.with_suffix(".weights.h5")) == stored(theirs.with_suffix(".weights.h5"))
        assert archived(ours.with_suffix(".keras")) == archived(theirs.with_suffix(".keras"))


@pytest.mark.parametrize("make", MODELS)
@pytest.mark.parametrize("later", [False, True])
@pytest.mark.covering(1)
def test_keras_loads_a_file_as_its_own(make: Callable[[], Any], later: bool, tmp_path: Path) -> None:
    """Keras loads the model, optimizer and assets of the snapshot, and further training gives the same result."""
    model = make()
    train(model)
    model.save(tmp_path / "theirs.keras")
    subject, ours = KerasSubject(model), tmp_path / "ours.keras"
    if later:
        write = subject.snapshot_writer(weights_only=False)
        train(model)
        write(ours)
    else:
        subject.save(ours, weights_only=False)

    loaded = [keras.models.load_model(path) for path in (tmp_path / "theirs.keras", ours)]
    assert everything(loaded[0]) == everything(loaded[1])
    for each in loaded:
        keras.utils.set_random_seed(1)
        train(each)
    assert everything(loaded[0]) == everything(loaded[1])


def test_a_model_without_weights_is_refused(tmp_path: Path) -> None:
    """A file without weights would look like a valid checkpoint."""
    subject = KerasSubject(keras.Sequential([layers.Dense(2)]))

    for write in (
        lambda: subject.snapshot_writer(weights_only=True),
        lambda: subject.save(tmp_path / "m.keras", weights_only=False),
    ):
        with pytest.raises(CheckpointError, match="not built"):
            write()
    assert not list(tmp_path.iterdir())


def test_legacy_files_are_written_in_the_foreground() -> None:
    """Saving them in the background is refused before training, naming the suffixes that can be."""
    with pytest.raises(SettingsError, match=r"'m.h5' cannot be written in the background; save as .keras"):
        Run(KerasSubject(sequential()), ModelCheckpoint("m.h5", background=True))

    model = keras.Sequential([keras.Input((4,)), layers.Dense(4)])
    model.compile("adam", "mse")
    model.fit(X, X, verbose=0, callbacks=[KerasCallback([ModelCheckpoint("m.h5")])])
    assert read(Path("m.h5")).epoch == 0
    assert len(keras.models.load_model("m.h5", compile=False).weights) == 2


UNKNOWN = """
import sys
from pathlib import Path
import keras
from keras.src.saving import saving_lib
del saving_lib.{part}
for name in [each for each in sys.modules if each.partition(".")[0] == "trainbus"]:
    del sys.modules[name]
from trainbus import MissingCapability, Run
from trainbus.adapters.keras.subject import KerasSubject
from trainbus.plugins import ModelCheckpoint
subject = KerasSubject(keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)]))
try:
    Run(subject, ModelCheckpoint("m", background=True))
except MissingCapability as error:
    print(error)
callbacks = [ModelCheckpoint("whole.h5"), ModelCheckpoint("weights", save_weights_only=True)]
with Run(subject, callbacks, verbose=0) as run:
    for epoch in run.epochs(1):
        pass
print(*sorted(path.name for path in run.state.files))
"""


@FORKS
def test_a_keras_version_that_saves_differently_saves_in_the_foreground() -> None:
    """The copy relies on private parts of Keras; without them Keras writes the files, but none in the background."""
    script = UNKNOWN.format(part="_serialize_model_as_json")

    def imported_anew() -> None:
        with Path("said").open("w") as said, redirect_stdout(said):
            exec(script, {})

    assert in_child(imported_anew) == 0
    refused, files = Path("said").read_text().splitlines()
    assert f"Keras {keras.__version__} saves in an unknown way" in refused
    assert files == "weights.weights.h5 whole.h5"


def dataset(path: Path, **options: Any) -> None:
    """Write a file of HDF5 with one dataset."""
    with h5py.File(path, "w") as file:
        file.create_dataset("layers/dense/vars/0", **options)


CRAFTED: dict[str, tuple[str, Callable[[Path], object]]] = {
    "10**11 numbers that are not stored": ("unpack", lambda path: dataset(path, shape=(10**11,), dtype="f4")),
    "10**11 numbers in parts": ("unpack", lambda path: dataset(path, shape=(10**11,), dtype="f4", chunks=(10**6,))),
    "zeros that are compressed": ("unpack", lambda path: dataset(path, data=np.zeros(10**7, "f4"), compression="gzip")),
    "numbers in another file": (
        "another file",
        lambda path: dataset(path, shape=(4, 1), dtype="f4", external=[("/etc/hostname", 0, 16)]),
    ),
    "a layout over another file": (
        "another file",
        lambda path: h5py.File(path, "w").create_virtual_dataset(
            "layers/dense/vars/0", h5py.VirtualLayout((4, 1), "f4")
        ),
    ),
    "a link to another file": (
        "",
        lambda path: h5py.File(path, "w").__setitem__("layers", h5py.ExternalLink("/etc/hostname", "layers")),
    ),
}


@FORKS
@pytest.mark.parametrize("suffix", [".weights.h5", ".keras"])
@pytest.mark.parametrize("crafted", CRAFTED)
def test_a_crafted_file_is_refused(crafted: str, suffix: str, tmp_path: Path) -> None:
    """With little memory, and without a look at another file."""
    reason, write = CRAFTED[crafted]
    model = keras.Sequential([keras.Input((4,)), layers.Dense(1)])
    subject = KerasSubject(model)
    path = tmp_path / f"a{suffix}"
    write(tmp_path / "weights")
    if suffix == ".keras":
        subject.save(tmp_path / "honest.keras", weights_only=False)
        with zipfile.ZipFile(tmp_path / "honest.keras") as before, zipfile.ZipFile(path, "w") as after:
            for name in before.namelist():
                after.writestr(name, (tmp_path / "weights").read_bytes() if name.endswith(".h5") else before.read(name))
    else:
        (tmp_path / "weights").rename(path)

    found = outcome_of(lambda: subject.load(path))
    assert found.startswith(f"'{path}'"), found
    assert reason in found


@FORKS
def test_an_archive_that_is_a_bomb_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.keras"
    KerasSubject(keras.Sequential([keras.Input((4,)), layers.Dense(1)])).save(path, weights_only=False)
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("assets/text", bytes(50_000_000))

    subject = KerasSubject(keras.Sequential([keras.Input((4,)), layers.Dense(1)]))
    assert "would unpack to 50" in outcome_of(lambda: subject.load(path))
