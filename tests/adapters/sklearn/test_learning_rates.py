"""Learning rates of every estimator of scikit-learn that has ``partial_fit``."""

from copy import deepcopy

import numpy as np
import pytest
from sklearn.base import BaseEstimator
from sklearn.linear_model import SGDClassifier, SGDRegressor
from sklearn.multiclass import OneVsRestClassifier
from sklearn.neural_network import MLPClassifier

from trainbus import MissingCapability, Run, SettingsError, decision
from trainbus.adapters.sklearn import SklearnSubject, partial_fit
from trainbus.plugins import ModelCheckpoint, ReduceLROnPlateau

from .estimators import CASES, TARGETS, WITH_RATE, X, data, fitted, make, step

# deprecated since scikit-learn 1.8, gone in 1.10
pytestmark = pytest.mark.filterwarnings("ignore:Class PassiveAggressive:FutureWarning")


@pytest.mark.parametrize("name", CASES)
def test_a_learning_rate_acts_or_is_refused(name):
    """A new rate changes the next update of an estimator with rates; others are refused by the plateau callback."""
    estimator = make(name)
    subject = SklearnSubject(estimator)
    if name not in WITH_RATE:
        before = deepcopy(vars(estimator))
        with pytest.raises(
            MissingCapability, match=f"needs a subject with learning rates that .*, but {name} has no learning rate"
        ):
            partial_fit(estimator, *data(name), callbacks=ReduceLROnPlateau())
        assert vars(estimator).keys() == before.keys()  # nothing was trained
        with pytest.raises(SettingsError, match="has no learning rate"):
            subject.set_learning_rates({"learning_rate": 0.1})
        return
    step(name, estimator)
    unchanged = deepcopy(estimator)
    rate = subject.learning_rates()["learning_rate"]
    subject.set_learning_rates({"learning_rate": rate / 10_000})
    assert subject.learning_rates() == {"learning_rate": rate / 10_000}
    start = fitted(estimator)
    for each in (unchanged, estimator):
        step(name, each)
    moved = [
        sum(np.abs(array - start[key]).sum() for key, array in fitted(each).items()) for each in (unchanged, estimator)
    ]
    assert moved[1] < moved[0] / 2


SCHEDULES = {
    "adam": lambda: MLPClassifier((4,), random_state=0),
    "sgd": lambda: MLPClassifier((4,), solver="sgd", momentum=0, random_state=0),
    "sgd invscaling": lambda: MLPClassifier((4,), solver="sgd", learning_rate="invscaling", momentum=0, random_state=0),
    "invscaling": lambda: SGDClassifier(learning_rate="invscaling", eta0=0.1, random_state=0),
    "adaptive": lambda: SGDClassifier(learning_rate="adaptive", eta0=0.1, random_state=0),
    "pa1": lambda: SGDClassifier(learning_rate="pa1", eta0=0.1, random_state=0),
    "pa2": lambda: SGDClassifier(learning_rate="pa2", eta0=0.1, random_state=0),
    "nested": lambda: OneVsRestClassifier(MLPClassifier((4,), random_state=0)),
}


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_learning_rate_acts_under_every_schedule(schedule, when):
    """Written before the first update or after it, a rate shortens the updates that follow, all of them."""
    long = SCHEDULES[schedule]()
    if when == "after":
        step("SGDClassifier", long)
    short = deepcopy(long)
    rate = SklearnSubject(long).learning_rates()["learning_rate"]
    SklearnSubject(short).set_learning_rates({"learning_rate": rate / 10_000})
    assert SklearnSubject(short).learning_rates()["learning_rate"] == pytest.approx(rate / 10_000, rel=1e-12)
    moves = []
    for estimator in (long, short):
        for _ in range(3):
            before = fitted(estimator)
            step("SGDClassifier", estimator)
            after = fitted(estimator)
            moves.append(sum(np.abs(after[key] - before[key]).sum() for key in before) if before else None)
    pairs = list(zip(moves[:3], moves[3:], strict=True))[when == "before" :]
    # passive-aggressive updates go as far as the rows that are still wrong demand, so later ones may be longer
    for far, near in pairs if schedule not in ("pa1", "pa2") else pairs[:1]:
        assert near < far / 2


def test_a_decaying_rate_is_reported_at_its_current_value():
    """Under invscaling the reported rate is that of the next update, not the one set at the start."""
    estimator = SGDRegressor(learning_rate="invscaling", eta0=0.1, power_t=0.25)
    estimator.partial_fit(X, TARGETS)
    assert SklearnSubject(estimator).learning_rates() == {"learning_rate": 0.1 / 61**0.25}


def test_a_rate_is_set_in_all_fitted_estimators_inside():
    """A meta-estimator's rate is written into those that it trains, each by the same factor."""
    estimator = make("OneVsOneClassifier")
    step("OneVsOneClassifier", estimator)
    estimator.estimators_[0].eta0 = 0.002
    SklearnSubject(estimator).set_learning_rates({"learning_rate": 0.005})
    assert [each.eta0 for each in estimator.estimators_] == [0.001, 0.005, 0.005]


@pytest.mark.parametrize("value", [0.0, -0.1, float("nan"), float("inf")])
def test_a_rate_that_is_not_a_positive_number_is_refused(value):
    """scikit-learn takes any number after the first update, even negative ones; trainbus takes valid rates only."""
    with pytest.raises(SettingsError, match="finite number above 0"):
        SklearnSubject(make("SGDClassifier")).set_learning_rates({"learning_rate": value})


def test_a_rate_that_the_estimator_does_not_keep_is_an_error():
    """An estimator that ignores a new rate raises."""

    class Stubborn(BaseEstimator):
        learning_rate = property(lambda self: 0.5, lambda self, value: None)

        def partial_fit(self, X, y=None):
            return self

    with pytest.raises(SettingsError, match=r"Stubborn\.learning_rate stayed 0\.5 when set to 0.1"):
        SklearnSubject(Stubborn()).set_learning_rates({"learning_rate": 0.1})


FALLING = {
    "SGDClassifier": lambda: SGDClassifier(learning_rate="invscaling", eta0=0.1, random_state=0),
    "SGDRegressor": lambda: SGDRegressor(eta0=0.1, random_state=0),
    "MLPClassifier": lambda: MLPClassifier(
        (4,), solver="sgd", learning_rate="invscaling", learning_rate_init=0.1, random_state=0
    ),
}


def falling(name, end_at=99, resume=None):
    """Train an estimator whose rate falls with each update; return the run."""
    estimator = FALLING[name]()
    options = {"classes": [0, 1]} if name.endswith("Classifier") else {}
    saver = ModelCheckpoint("run/{step}", save_freq=1, background=False)
    with Run(SklearnSubject(estimator), [saver], resume=resume) as run:
        for _ in run.epochs(3):
            for _ in run.batches(range(4)):
                if run.step == end_at:
                    raise InterruptedError
                estimator.partial_fit([[0.0], [1.0]], [0, 1], **options)
    return run


@pytest.mark.covering(1)
@pytest.mark.parametrize("step", [1, 3, 6, 10])
@pytest.mark.parametrize("name", FALLING)
def test_the_rate_of_an_epoch_is_that_of_its_first_update_also_after_a_resume_within_it(name, step):
    """It is not the rate at the resume, nor that of the epoch's end."""
    unbroken = falling(name)
    first = SklearnSubject(FALLING[name]()).learning_rates()["learning_rate"]
    with pytest.raises(InterruptedError):
        falling(name, end_at=step)
    resumed = falling(name, resume=f"run/{step}.skops")

    assert unbroken.history["learning_rate"][0] == first
    assert len(set(unbroken.history["learning_rate"])) == 3
    assert resumed.history["learning_rate"] == unbroken.history["learning_rate"]


def test_a_loop_that_sets_the_rate_of_an_estimator_back_is_reported():
    """In one line, as with the other frameworks."""
    estimator = SGDClassifier(learning_rate="constant", eta0=0.1, random_state=0)
    with Run(SklearnSubject(estimator)) as run:
        for epoch in run.epochs(4):
            estimator.set_params(eta0=0.1)
            for _ in run.batches(range(2)):
                estimator.partial_fit([[0.0], [1.0]], [0, 1], classes=[0, 1])
            if epoch == 1:
                run.decide(decision.scale_learning_rate(0.1))

    (failure,) = run.failures
    assert "learning_rate was changed from 0.1 to 0.01 in epoch 2, but epoch 3 began with 0.1, not 0.01" in str(failure)
