"""Signs of a log in names."""

from pathlib import Path

import pytest

from trainbus import SettingsError
from trainbus.replay import read, read_all
from trainbus.replay.readers.shared.log_signs import records_a_run


@pytest.mark.parametrize(
    "name", ["log.csv", "train_log.jsonl", "history-3.csv", "Metrics.csv", "keras_history.json", "logs/resnet.csv"]
)
def test_a_file_may_be_called_like_a_log(name: str) -> None:
    """Itself, or its directory."""
    assert records_a_run(Path(name), ["score"])


@pytest.mark.parametrize(
    "labels", [["train_loss"], ["Loss/train"], ["acc", "Val Acc"], ["val/f1", "test/f1"], ["fid", "timestamp"]]
)
def test_columns_may_be_those_of_a_log(labels: list[str]) -> None:
    """They tell the training, the time of writing, or one metric for two sets of data."""
    assert records_a_run(Path("a.csv"), labels)


OTHERS = {
    "preds.csv": "loss,prediction\n0.5,1\n0.25,2\n",
    "labels.csv": "id,test_score\n1,0.5\n2,0.25\n",
    "train.csv": "accuracy,width\n1,2\n2,4\n",
    "wine.tsv": "quality\tacid\n1\t2\n2\t4\n",
    "results_coco.json": '[{"image_id": 1, "score": 0.5}, {"image_id": 2, "score": 0.25}]',
    "table.json": '{"score": {"0": 1, "1": 2}, "price": {"0": 1, "1": 2}}',
    "answers.jsonl": '{"f1": 0.5, "em": 1}\n{"f1": 0.25, "em": 0}\n',
    "best_result_2b.csv": "f1,em\n1,2\n2,4\n",
}


@pytest.mark.parametrize("name", OTHERS)
def test_data_and_predictions_in_a_folder_are_no_runs(name: str, tmp_path: Path) -> None:
    """Their rows have numbers called like metrics, but nothing tells of a training; by its own path, any is read."""
    path = tmp_path / name
    path.write_text(OTHERS[name])
    with pytest.raises(SettingsError, match=f"no recorded run .*{name}' .*give its own path") as caught:
        read(tmp_path)
    assert "\n" not in str(caught.value)
    assert read(path).metrics
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "log.csv").write_text(OTHERS["preds.csv"])
    assert [each.name for each in read_all(tmp_path)] == ["run/log.csv"]
