"""The reader of plain text."""

import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainbus import SettingsError
from trainbus.replay import read, read_all

from ...recorded import shown

OWN = r"i=(?P<iteration>\d+)\] quality (?P<quality>[\d.]+)"


def test_a_pattern_of_ones_own_is_found_in_every_line(tmp_path: Path) -> None:
    """Its groups are the axis and the metrics."""
    path = tmp_path / "train.out"
    path.write_text("start\n[i=5] quality 3.5 (best)\n[i=10] quality 2.5\nend\n")
    found = read(path, pattern=OWN)
    assert (found.format, found.unit, shown(found)) == ("text", "iteration", {"quality": [3.5, 2.5]})
    assert [each.name for each in read_all(tmp_path, pattern=OWN)] == ["train.out"]
    with pytest.raises(SettingsError, match=r"train.out' is text in which no known pattern was found: name"):
        read(path)


def test_several_patterns_are_for_several_kinds_of_lines(tmp_path: Path) -> None:
    """Each line has the numbers of the first that is found in it."""
    path = tmp_path / "train.out"
    path.write_text("train 1 3.5\nval 1 4.5\ntrain 2 2.5\nval 2 4.0\n")
    patterns = [r"train (?P<epoch>\d+) (?P<loss>\S+)", r"val (?P<epoch>\d+) (?P<val_loss>\S+)"]
    assert shown(read(path, pattern=patterns)) == {"loss": [3.5, 2.5], "val_loss": [4.5, 4.0]}


def test_a_pattern_that_is_not_in_the_file_is_named(tmp_path: Path) -> None:
    """A file that it does not fit is read by its format, if it is not named."""
    path = tmp_path / "log.csv"
    path.write_text("epoch,loss\n0,2\n")
    with pytest.raises(SettingsError, match=r"log.csv' has no line in which the pattern 'i=.*' finds numbers"):
        read(path, pattern=OWN)
    assert read(tmp_path, pattern=OWN).format == "Keras CSV"


@pytest.mark.parametrize("text", ["Epoch 1: see loss = 0.5", "Nothing\n", "<html>Epoch 1: loss: 2\nEpoch 2: loss: 1"])
def test_what_is_found_in_a_folder_must_have_two_rows(text: str, tmp_path: Path) -> None:
    """A text may speak of an epoch."""
    (tmp_path / "notes.txt").write_text(text)
    with pytest.raises(SettingsError, match="no recorded run"):
        read(tmp_path)


SETTINGS = {
    "args.txt": "epochs: 30\nlr: 0.1\nbatch: 4\n",
    "train.txt": "epochs: 30\nlr: 0.1\nbatch: 4\nmomentum: 0.9\n",
    "hyp.txt": "epochs = 30\nlr = 0.1\nwarmup epochs = 3\nmomentum = 0.9\n",
    "run.txt": "Namespace(epochs=30, lr=0.1, batch_size=4)\nepochs=30 lr=0.2\n",
    "trainer.yaml": "step: 3\nlr: 0.1\nloss: 2\nstep: 4\nloss: 1\n",
    "TODO.md": "- [ ] epoch 3: check lr: 0.1\n- [ ] epoch 5: loss: 0.3, lr: 0.2\n",
    "setup.cfg": "epochs = 30\nlr = 0.1\n",
    "run.bat": "python train.py epochs=30 lr=0.1\npython train.py epochs=40 lr=0.2\n",
    "notes.txt": "Ran 2 experiments.\nEpoch 12 looked best with loss: 0.3\nlr: 0.1\n",
}


@pytest.mark.parametrize("name", SETTINGS)
def test_settings_and_notes_in_a_folder_are_no_runs(name: str, tmp_path: Path) -> None:
    """A metric of a log has values at two epochs or steps; a file of settings is none by its name."""
    (tmp_path / name).write_text(SETTINGS[name])
    with pytest.raises(SettingsError, match="no recorded run"):
        read(tmp_path)
    (tmp_path / "results.csv").write_text("epoch,val_loss\n1,2\n2,1\n")
    assert [each.format for each in read_all(tmp_path)] == ["Keras CSV"]


def test_settings_of_each_run_stay_those_of_the_run(tmp_path: Path) -> None:
    """The files beside a log are no runs of their own, so they tell its settings."""
    for number in (1, 2, 3):
        folder = tmp_path / f"train{number}"
        folder.mkdir()
        (folder / "results.csv").write_text("epoch,val_loss\n1,2\n2,1\n")
        (folder / "args.yaml").write_text(f"epochs: 50\nlr0: 0.{number}\nseed: {number}\n")
    assert [each.settings["lr0"] for each in read_all(tmp_path)] == [0.1, 0.2, 0.3]


def test_a_log_with_a_long_first_epoch_is_found(tmp_path: Path) -> None:
    """Also if what is read of a file at first ends within it."""
    lines = [f"Epoch: [{epoch}][{batch}/999] loss: {1 / (1 + batch)}\n" for epoch in (0, 1) for batch in range(3000)]
    (tmp_path / "train.log").write_text("".join(lines))
    assert read(tmp_path).epochs.tolist() == [0, 1]


PREFIXES = [
    "",
    "[",
    "[0] ",
    "[12:00] ",
    "[2026-01-01 10:00:00,123] ",
    "[INFO][host]: ",
    "{main} ",
    "[1, 2] ",
    "<rank 0> ",
]


@pytest.mark.parametrize("prefix", [*PREFIXES, "\x1b[32m", "[[34mINFO[0m] "])
def test_lines_may_begin_with_any_bracket(prefix: str, tmp_path: Path) -> None:
    """What stands before the epoch does not change what is read; a line that begins so is not JSON."""
    path = tmp_path / "train.log"
    path.write_text("".join(f"{prefix}Epoch {epoch}: loss: {4 - epoch}, val_loss: {5 - epoch}\n" for epoch in range(3)))
    assert shown(read(tmp_path)) == {"loss": [4, 3, 2], "val_loss": [5, 4, 3]}
    path.write_text(f"{prefix}took 3 days\n" * 3)
    with pytest.raises(SettingsError, match="is text in which no known pattern was found"):
        read(path)


def test_printed_dictionaries_are_read_as_their_trainer_counts(tmp_path: Path) -> None:
    """Several evaluations in an epoch are rows of their own."""
    lines = [
        f"{{'loss': {9 - n}, 'epoch': {n / 2}}}\n{{'eval_loss': {9.5 - n}, 'epoch': {n / 2}}}\n" for n in range(1, 5)
    ]
    (tmp_path / "train.out").write_text("".join(lines))
    found = read(tmp_path)
    assert (found.unit, shown(found)["val_loss"]) == ("evaluation", [8.5, 7.5, 6.5, 5.5])


def test_the_best_iteration_printed_again_is_no_return_to_it(tmp_path: Path) -> None:
    """LightGBM ends with it; without an axis, equal lines are rows of their own."""
    path = tmp_path / "train.log"
    rows = [f"[{n}]\tvalid_0's auc: {value}\n" for n, value in ((10, 0.5), (20, 0.75), (30, 0.625))]
    path.write_text("".join([*rows, "Did not meet early stopping. Best iteration is:\n", rows[1]]))
    found = read(path)
    assert (found.steps is not None and found.steps.tolist(), [*shown(found).values()]) == (
        [10, 20, 30],
        [[0.5, 0.75, 0.625]],
    )
    lines = ["epoch 1 val_acc: 0.5\n", "epoch 1 val_acc: 0.5\n", "epoch 2 val_acc: 0.75\n"]
    path.write_text("".join(lines))  # an equal evaluation in one epoch is an evaluation
    assert shown(read(path)) == {"val_acc": [0.5, 0.5, 0.75]}
    path.write_text("loss 1\nloss 1\nloss 1\n")
    assert shown(read(path, pattern=r"loss (?P<loss>\d)")) == {"loss": [1, 1, 1]}


EVALUATIONS = {
    "mnist": "Train Epoch: {n} [0/60 (0%)]\tLoss: {a}\nTest set: Average loss: {b}, Accuracy: 9/10 (90%)\n",
    "vae": "====> Epoch: {n} Average loss: {a}\n====> Test set loss: {b}\n",
    "fairseq": "| train | epoch {n:03} | loss {a}\n| valid | epoch {n:03} | valid on 'valid' subset | loss {b}\n",
    "imagenet": "Epoch: [{n}][0/9]\tLoss 9.5 ({a})\nTest: [0]\tLoss 9.5 (8)\nTest: [8]\tLoss 9.5 ({b})\n * Acc@1 0.5\n",
    "means": "Epoch: [{n}] loss: {a}\nval_acc: 0.5\n * loss {b}\n",
    "heading": "Epoch {n}\nloss: {a} [ 64/600]\nTest Error:\n Accuracy: 50.1%, Avg loss: {b}\n\n",
    "mmengine": "Epoch(train)  [{n}][9/9] lr: 0.1  loss: {a}\nEpoch(val) [{n}][5/5]  loss: {b}\n",
    "lines": "Epoch {n}/9\ntrain loss {a} acc 0.5\nvalid loss {b} acc 0.75\n",
    "colon": "Epoch {n}\nloss: {a}\nValidation - loss: {b}\n",
    "in brackets": "[train] epoch {n} loss={a}\n[dev] epoch {n} loss={b}\n",
    "one line": "epoch {n}, loss {a}, val_loss {b}\n",
    "sections": "Epoch {n}: train loss={a} acc=0.5, valid loss={b} acc=0.75\n",
}


@pytest.mark.parametrize("kind", EVALUATIONS)
def test_the_values_of_held_out_data_are_read_wherever_they_stand(kind: str, tmp_path: Path) -> None:
    """In the line of the epoch, in one of their own, or in lines after it, with the last value of an evaluation."""
    path = tmp_path / "train.log"
    path.write_text("".join(EVALUATIONS[kind].format(n=n, a=5.5 - n, b=7.5 - n) for n in range(1, 5)))
    found = read(tmp_path)
    values = shown(found)
    (trained,) = (values[name] for name in values if name.endswith("loss") and not name.startswith(("val", "test")))
    (held_out,) = (values[name] for name in values if name.endswith("loss") and name.startswith(("val_", "test_")))
    assert (found.unit, trained, held_out) == ("epoch", [4.5, 3.5, 2.5, 1.5], [6.5, 5.5, 4.5, 3.5])
    assert not [note for note in found.notes if "held-out" in note]


def test_what_is_not_read_of_held_out_data_is_said(tmp_path: Path) -> None:
    """With an example; and where a number has no name but that of its data."""
    path = tmp_path / "train.log"
    path.write_text("epoch 1 loss: 2.5\nvalidation took -> 3.25\nepoch 2 loss: 1.5\nvalidation took -> 3.5\n")
    assert "2 lines name held-out data, but no metric is found in them, as in 'validation took -> 3.25'" in str(
        read(path).notes
    )
    path.write_text("Epoch: 1, Loss: 2.5, Val: 0.5, Test: 0.25\nEpoch: 2, Loss: 1.5, Val: 0.75, Test: 0.5\n")
    found = read(path)
    assert "'test', 'val': no metric is named; judge by one with --monitor and --mode." in found.notes
    assert shown(found)["val"] == [0.5, 0.75]


def test_progress_bars_and_long_lines_are_read(tmp_path: Path) -> None:
    """A carriage return ends a line; only the beginning of a very long one counts."""
    path = tmp_path / "log.txt"
    path.write_bytes(b"Epoch 1: loss: 3.0\rEpoch 1: loss: 2.5\nEpoch 2: loss: 2.0 " + b"x" * 3_000_000 + b"\n")
    assert shown(read(path)) == {"loss": [2.5, 2.0]}


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    """By a pattern and without one."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "log.txt")
        path.write_bytes(b"epoch 1 loss: 2\nepoch 2 loss: " + data)
        for pattern in (None, OWN):
            try:
                assert read(path, pattern=pattern).epochs.size
            except SettingsError as error:
                assert "failed:" not in str(error)  # noqa: PT017
