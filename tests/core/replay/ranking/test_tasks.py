"""The quality metrics of tasks."""

from __future__ import annotations

import pytest

from trainbus.replay.ranking.roles import Role
from trainbus.replay.ranking.tasks import TASKS


@pytest.mark.parametrize(
    ("title", "names"),
    [
        ("object detection", ["metrics/mAP50-95(B)", "metrics/mAP50(B)", "metrics/mAP75(B)"]),
        ("object detection", ["bbox/AP", "bbox/AP50", "bbox/AP75", "bbox/APs"]),
        ("reinforcement learning", ["eval/mean_reward", "eval/episode_reward"]),
        ("speech recognition", ["val_wer", "val_cer"]),
        ("summarization", ["eval_rougeL", "eval_rouge2", "eval_rouge1"]),
    ],
)
def test_of_several_metrics_of_a_task_one_is_looked_at_first(title: str, names: list[str]) -> None:
    """The first name has the lowest rank, and each is a metric of the task."""
    (task,) = [each for each in TASKS if each.title == title]
    roles = [Role(name) for name in names]

    assert all(task.measures(each) for each in roles)
    assert sorted(roles, key=task.place) == roles


@pytest.mark.parametrize("name", ["val_mape", "rewards/margins", "rollout/ep_len_mean", "train_wer", "f1_score"])
def test_similar_names_are_no_metrics_of_a_task(name: str) -> None:
    """A mean absolute percentage error is no mean average precision."""
    assert not any(task.measures(Role(name)) for task in TASKS)
