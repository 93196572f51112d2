"""The reader of TensorBoard's CSV exports."""

from pathlib import Path

from trainbus.replay import read, read_all

from ...recorded import shown


def export(path: Path, *values: float) -> None:
    """Write the export of a tag."""
    rows = (f"16{number}.5,{100 * number},{value}\n" for number, value in enumerate(values))
    path.write_text("Wall time,Step,Value\n" + "".join(rows))


def test_the_tags_of_a_run_are_one_run(tmp_path: Path) -> None:
    """The names of the files have the run and the tag, whose first slash is an underscore."""
    export(tmp_path / "run-a-tag-val_loss.csv", 3, 2, 1)
    export(tmp_path / "run-a-tag-train_loss.csv", 2, 1.5, 0.5)
    export(tmp_path / "run-b-tag-val_loss.csv", 4, 3, 2)
    first, second = read_all(tmp_path)

    assert (first.name, second.name, first.unit) == ("a", "b", "step")
    assert first.steps is not None
    assert first.steps.tolist() == [0, 100, 200]
    assert shown(first) == {"val_loss": [3, 2, 1], "loss": [2, 1.5, 0.5]}


def test_a_file_of_another_name_has_its_name_as_metric(tmp_path: Path) -> None:
    """It is one run."""
    export(tmp_path / "val_loss.csv", 3, 2)
    export(tmp_path / "run-.-tag-accuracy.csv", 0.25, 0.5)
    assert shown(read(tmp_path / "val_loss.csv")) == {"val_loss": [3, 2]}
    assert shown(read(tmp_path / "run-.-tag-accuracy.csv")) == {"accuracy": [0.25, 0.5]}
