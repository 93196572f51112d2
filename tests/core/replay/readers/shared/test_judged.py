"""Recordings whose file names the metric by which its tool judged the run."""

from trainbus.replay.objective import Objective
from trainbus.replay.readers.shared.judged import judged_by

from ...recorded import recording


def test_only_a_metric_of_the_run_with_a_direction_is_its_objective():
    run = recording([2.0, 1.0])

    assert judged_by(run, "eval_loss", "min").objective == Objective("val_loss", "min")
    assert judged_by(run, "eval_loss", None).objective is None
    assert judged_by(run, "eval_f1", "max").objective is None
