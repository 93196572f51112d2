"""Tests of inspection: every part of the subject is shown, and the training is unchanged."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import torch
from sklearn.linear_model import SGDClassifier
from sklearn.neural_network import MLPClassifier

from trainbus import Run, hookimpl, journal
from trainbus.adapters.keras import KerasCallback
from trainbus.adapters.sklearn import partial_fit
from trainbus.adapters.torch import TorchSubject
from trainbus.plugins import TensorBoard
from trainbus.plugins.tensorboard.layouts import LAYOUTS
from trainbus.testing import LineSubject

from ..event_readers import everything, read
from ..trainings import GRADIENTS, HELD_OUT, LABELS, ROWS, TRAININGS, Witness


@pytest.mark.parametrize("layout", sorted(LAYOUTS))
@pytest.mark.parametrize("framework", sorted(TRAININGS))
def test_weights_gradients_and_activations_are_written_when_due(framework: str, layout: Any):
    """In each layout and framework: weights, gradients and activations of the epochs that are due, and no others.

    Each has the number, bounds and sums of its array; every image, graph and text is written once; all tags differ.
    """
    witness = Witness()
    callback = TensorBoard(
        "logs", layout=layout, histogram_freq=2, write_grads=True, batch_size=4, hparams={"lr": 0.05}
    )
    TRAININGS[framework]([witness, callback])
    reader = read()[LAYOUTS[layout].main]
    expected: dict[tuple[str, int], Any] = {}
    for epoch in (0, 2):
        step = epoch if layout == "keras" else witness.steps[epoch]
        expected |= {(f"{name}/histogram", step): array for name, array in witness.weights[epoch].items()}
        expected |= {(f"{name}/activation", step): array for name, array in witness.activations[epoch].items()}
        if witness.gradients:
            expected |= {(f"{name}/gradient", step): array for name, array in witness.gradients[epoch].items()}
    found = {
        (tag, event.step): event.histogram_value
        for tag in reader.Tags()["histograms"]
        for event in reader.Histograms(tag)
    }
    assert found.keys() == expected.keys()
    for key, array in expected.items():
        shown, values = found[key], array.astype(np.float64)
        assert shown.num == sum(shown.bucket) == values.size, key
        numbers = (shown.min, shown.max, shown.sum, shown.sum_squares)
        np.testing.assert_allclose(
            numbers, (values.min(), values.max(), values.sum(), (values**2).sum()), rtol=1e-5, atol=1e-6, err_msg=key[0]
        )
    tags = reader.Tags()
    steps = {step for _, step in expected}
    assert {(tag, event.step) for tag in tags["images"] for event in reader.Images(tag)} == {
        (f"{name}/image", step) for name, array in witness.weights[0].items() if array.ndim for step in steps
    }
    texts = {"settings", "environment", "keras", "custom_scalars__config__"} & set(tags["tensors"])
    conceptual = {"keras"} if framework == "keras" else set[str]()
    assert texts == {
        "settings",
        "environment",
        *conceptual,
        *(() if layout == "keras" else ["custom_scalars__config__"]),
    }
    assert all(len(reader.Tensors(tag)) == 1 for tag in texts)
    assert tags["graph"]
    every = [tag for kind in ("scalars", "histograms", "images", "tensors") for tag in tags[kind]]
    assert len(set(every)) == len(every)


@pytest.mark.parametrize("framework", sorted(TRAININGS))
def test_inspection_does_not_change_the_training(framework: str):
    """Every weight is exactly the same, though shuffling, layers and the probe's loader draw random numbers."""

    def weights(*callbacks: Any) -> Any:
        subject: Any = TRAININGS[framework](list(callbacks)).subject
        return [(name.rpartition("/")[2], array.copy()) for name, array in subject.weights()]

    plain, inspected = weights(), weights(TensorBoard("logs", histogram_freq=1, write_grads=True, batch_size=4))
    for (name, array), (other, same) in zip(plain, inspected, strict=True):
        assert name == other
        np.testing.assert_array_equal(array, same)


def fit(callbacks: Any, **options: Any) -> Any:
    """A Keras model."""
    model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(2, "softmax", name="only")], name="m")
    model.compile("adam", "sparse_categorical_crossentropy")
    model.fit(ROWS, LABELS, verbose=0, callbacks=[callbacks], **options)
    return model


def torch_epoch(subject: Any, *callbacks: Any) -> None:
    """An epoch of two updates, if there is an optimizer."""
    with Run(subject, list(callbacks)) as run:
        for _ in run.epochs(1):
            for _ in run.batches(range(2)):
                subject.model(torch.from_numpy(ROWS)).sum().backward()
                for optimizer in subject.optimizers.values():
                    optimizer.step()


INSIDE = TensorBoard("logs", histogram_freq=1)


def test_without_data_weights_are_written_and_one_line_names_the_fix(logged: Any):
    """The line names the fix of each framework; without layers there is no line."""
    torch_epoch(TorchSubject(torch.nn.Linear(6, 1)), INSIDE)
    fit(KerasCallback(INSIDE))
    partial_fit(MLPClassifier((2,)), ROWS, LABELS, callbacks=INSIDE)
    partial_fit(SGDClassifier(), ROWS, LABELS, callbacks=INSIDE)
    with Run(LineSubject(), INSIDE) as run:
        for _ in run.epochs(1):
            run.log(loss=1.0)
    fixes = ["TorchSubject(..., probe=validation_loader)", "give fit validation_data=", "give partial_fit validation_"]
    lines = logged()
    assert len(lines) == 3
    for line, fix in zip(lines, fixes, strict=True):
        assert line.startswith("TensorBoard: no histograms of activations: ")
        assert fix in line
    shown = set(read()["train"].Tags()["histograms"])
    assert {"weight/histogram", "m/only/kernel/histogram", "coefs_/0/histogram", "coef_/histogram"} <= shown


def test_a_lazy_model_is_inspected_from_its_first_epoch(logged: Any):
    """After the first batch its weights have values: they, their gradients and their outputs are shown."""
    model = torch.nn.Sequential(torch.nn.LazyLinear(3), torch.nn.ReLU(), torch.nn.LazyLinear(1))
    subject = TorchSubject(model, torch.optim.SGD(model.parameters(), lr=0.1), probe=torch.from_numpy(HELD_OUT))
    torch_epoch(subject, TensorBoard("logs", histogram_freq=1, write_grads=True))
    shown = set(read()["train"].Tags()["histograms"])
    weights = {f"{layer}/{kind}" for layer in (0, 2) for kind in ("weight", "bias")}
    assert shown == {f"{each}/{what}" for each in weights for what in ("histogram", "gradient")} | {
        f"{layer}/activation" for layer in range(3)
    }
    assert logged() == []


def test_a_generator_of_validation_data_is_not_consumed(logged: Any):
    """Keras gets each of its batches; a line suggests arrays, which work."""
    batches = [(HELD_OUT, np.zeros(15, "int64"))] * 3

    def generator():
        yield from batches

    one_shot = generator()
    fit(KerasCallback(INSIDE), validation_data=one_shot, validation_steps=3)
    assert list(one_shot) == []
    (line,) = logged()
    assert "generator, which can be iterated only once; give arrays or a data set: KerasCallback(callbacks, " in line
    assert "m/only/activation" not in read()["train"].Tags()["histograms"]
    bus = KerasCallback(TensorBoard("more", histogram_freq=1), validation_data=HELD_OUT)
    fit(bus, validation_data=generator(), validation_steps=3)
    assert read("more")["train"].Histograms("m/only/activation")[0].histogram_value.num == 30


class Batches(keras.utils.PyDataset):  # type: ignore[misc]
    """Three batches of five, which counts its epochs."""

    epochs = 0

    def __len__(self) -> int:
        return 3

    def __getitem__(self, number: int) -> Any:
        return HELD_OUT[5 * number : 5 * number + 5], np.zeros(5, "int64")

    def on_epoch_end(self) -> None:
        self.epochs += 1


@pytest.mark.parametrize(("steps", "samples"), [(None, 15), (2, 10)])
@pytest.mark.parametrize("kind", ["loader", "dataset"])
def test_data_sets_are_read_as_far_as_the_validation_reads_them(kind: str, steps: Any, samples: int):
    """A DataLoader and a PyDataset give each batch of the validation once, and their epochs are not ended."""
    pairs = torch.utils.data.TensorDataset(torch.from_numpy(HELD_OUT), torch.zeros(15, dtype=torch.int64))
    data = torch.utils.data.DataLoader(pairs, 5) if kind == "loader" else Batches()
    fit(KerasCallback(INSIDE), validation_data=data, validation_steps=steps)
    assert read()["train"].Histograms("m/only/activation")[0].histogram_value.num == samples * 2
    if isinstance(data, Batches):
        epochs_ended = data.epochs
        fit(KerasCallback(TensorBoard("off")), validation_data=(plain := Batches()), validation_steps=steps)
        assert epochs_ended == plain.epochs


class Blinds:
    """A subject whose inspection fails except for its weights, in part midway."""

    METHODS = ("trace", "graph", "config", "activations", "hold_gradients")

    @hookimpl(tryfirst=True)
    def on_train_begin(self, run: Run) -> None:
        def failing(*_: Any) -> Any:
            raise ArithmeticError("no")

        def half(batch_size: int) -> Any:
            yield "layer", np.ones(batch_size)
            raise ArithmeticError("no more")

        for method in self.METHODS:
            if hasattr(run.subject, method):
                setattr(run.subject, method, half if method == "activations" else failing)


@pytest.mark.parametrize("framework", sorted(TRAININGS))
def test_each_failed_inspection_is_one_line_and_one_failure_and_changes_nothing_else(framework: str, logged: Any):
    """Each failure is logged once, also in the run and its journal; training and all other charts are unchanged."""
    options: Any = {"histogram_freq": 1, "write_grads": GRADIENTS[framework], "batch_size": 4}
    plain = TRAININGS[framework]([TensorBoard("plain", **options)])
    assert logged() == []
    run = TRAININGS[framework]([TensorBoard("logs", **options), Blinds()])
    lost = {"no graph": "no", "no gradients from here on": "no", "no activations from here on": "no more"}
    if framework == "keras":
        lost["no conceptual graph"] = "no"
    if not GRADIENTS[framework]:
        del lost["no gradients from here on"]
    expected = sorted(f"TensorBoard: {each}: ArithmeticError: {why}" for each, why in lost.items())
    (run_journal,) = journal.read(Path("logs/journal.jsonl"))
    failures = [each for each in run_journal.events if isinstance(each, journal.FailureReported)]

    assert sorted(logged()) == [f"{each}; the training continues" for each in expected]
    assert sorted(map(str, run.failures)) == expected
    assert sorted(f"{each.plugin}: {each.lost}: {each.error}" for each in failures) == expected
    assert run_journal.events[-1] is run_journal.end
    assert run.history == plain.history
    kept, complete = everything("logs"), everything("plain")
    unseen = {key for key in complete if key[1] in ("graph", "keras") or key[1].endswith(("/activation", "/gradient"))}
    assert kept.keys() == complete.keys() - unseen
    assert all(kept[key] == complete[key] for key in kept if key[1] != "settings")


def test_missing_gradients_log_the_reason(logged: Any):
    """No optimizer, a framework without gradients, an epoch without an update, no histograms: one line each."""
    grads: Mapping[str, Any] = {"log_dir": "logs", "write_grads": True}
    model = torch.nn.Linear(6, 1)
    torch_epoch(TorchSubject(model, probe=HELD_OUT), TensorBoard(**grads, histogram_freq=1))
    partial_fit(SGDClassifier(), ROWS, LABELS, callbacks=TensorBoard(**grads, histogram_freq=1))
    subject = TorchSubject(model, torch.optim.SGD(model.parameters(), lr=0.1), probe=HELD_OUT)
    with Run(subject, TensorBoard(**grads, histogram_freq=1)) as run:
        for _ in run.epochs(1):
            run.log(loss=1.0)
    torch_epoch(subject, TensorBoard(**grads))
    no = "TensorBoard: no histograms of gradients: "
    seen = "gradients are seen when an optimizer makes an update; give it: TorchSubject(model, optimizer)"
    assert logged() == [
        f"{no}{seen}",
        f"{no}this model provides none",
        f"{no}no weight had a gradient when it was updated",
        f"{no}write_grads needs histogram_freq=1 or more",
    ]
