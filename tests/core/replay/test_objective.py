"""The metric by which a run was judged."""

from trainbus.replay import read_all

from .samples import FORMATS


def test_an_objective_is_a_metric_of_its_run():
    """Whatever reader names one, the run has it under this name."""
    found = [run for run in read_all(FORMATS) if run.objective is not None]

    assert {run.format for run in found} == {"CatBoost", "KerasTuner trial"}
    assert all(run.objective is not None and run.objective.metric in run.metrics for run in found)
