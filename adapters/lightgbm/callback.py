"""LightGBM: a callback that turns every training into a run, a round of which is an epoch."""

# LightGBM passes the arguments of a training to no callback, and declares some types only partly
# pyright: basic, reportMissingImports=false, reportAttributeAccessIssue=false

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from copy import copy
from dataclasses import dataclass
from typing import Any, ClassVar, Never, Unpack

from trainbus import LoopError, Run, SettingsError
from trainbus.binding import RunOptions
from trainbus.metrics.missing_metric import MetricAdvice
from trainbus.settings.arguments import checked

from ..shared.boosting_library import BoostingLibrary
from ..shared.boosting_run import BoostingRun
from ..shared.clones import check_resume
from ..shared.schedules import check_schedule
from .subject import RATE_NAMES, LightGBMSubject

import lightgbm  # isort: skip # after the import that names the missing package

_ORDER = 25  # after LightGBM's callbacks that log and record, before its early stopping
_ADVICE = MetricAdvice(
    "give lightgbm.train valid_sets=[data], or fit eval_set=[(X_val, y_val)]",
    "write it into metric of the parameters, or monitor one that is logged",
)
_STAR = (
    "LightGBM calls a LightGBMCallback before and after each round; give lightgbm callbacks=[*callback], with a star"
)
_LIBRARY = BoostingLibrary(lightgbm.train, "LightGBMCallback", "*this LightGBMCallback", "init_model", _ADVICE)


class LightGBMCallback:
    """A LightGBM callback that runs a list of trainbus callbacks in every training that it is passed to.

    ::

        callback = LightGBMCallback([EarlyStopping(patience=10), ModelCheckpoint("best", save_best_only=True)])
        lightgbm.train(params, data, 500, valid_sets=[val_data], callbacks=[*callback])
        print(callback.run.result)

    It works in the same way in ``LGBMClassifier().fit(X, y, eval_set=[(X_val, y_val)], callbacks=[*callback])``. The
    star gives LightGBM two callbacks, one before and one after each round; without it, the training is refused. Each
    round is an epoch. Metrics of the training data keep LightGBM's names, such
    as "auc"; those of the validation data are "val_auc", and those of a further set have its name as their prefix.

    LightGBM loads a model only where a training begins, so give it the one to continue::

        callback = LightGBMCallback(callbacks, resume="auto")
        lightgbm.train(params, data, 500, init_model=callback.init_model, callbacks=[*callback], ...)

    The training then ends with the round in which an unbroken one ends. LightGBM does not save the state of its random
    generators, so with ``bagging_freq``, ``feature_fraction``, ``extra_trees``, "goss" or "dart" a resumed training
    draws other rows, columns and trees, as one line in the log says. To continue from a file of your own, keep
    ``callback.run.state_dict()`` beside it, as it is after the same round, and give ``resume=state`` together with
    ``init_model=``; the number of rounds is then that of the further rounds, as always with ``init_model``.

    In ``GridSearchCV`` and others that train several clones of an estimator, each fit is a run, and ``resume`` is
    refused.

    LightGBM reports an error of its own or of another callback to no callback. The run then ends when the error's
    traceback is released, at the latest at the next training or when Python exits.

    Args:
        callbacks: Callbacks, as in ``trainbus.Run``, or a single one.
        data: The name of the validation data; by default the last that is not the training data.
        metric: The metric that is also logged as "loss" and "val_loss", which callbacks monitor by default; by default
            the last one if lower is better.
        options: Further arguments of ``trainbus.Run``, such as ``resume``; the first training resumes.

    Raises:
        SettingsError: An option is wrong, or a callback cannot work with a booster.
    """

    @checked("LightGBMCallback", "give several callbacks as one list: LightGBMCallback([...])")
    def __init__(
        self, callbacks: Any = (), data: str | None = None, metric: str | None = None, **options: Unpack[RunOptions]
    ) -> None:
        self._rounds = BoostingRun(_LIBRARY, callbacks, data, metric, options, LightGBMSubject())
        self._subject = LightGBMSubject()
        self._trains: bool | None = None
        """Whether the present round counts; None if LightGBM has not called the callback before it."""
        self.order = _ORDER

    def __getstate__(self) -> dict[str, Any]:
        """Return the contents of a copy or a pickle: the settings."""
        return {**vars(self), "_rounds": copy(self._rounds), "_subject": LightGBMSubject(), "_trains": None}

    def __iter__(self) -> Iterator[Callable[[Any], None]]:
        """Yield the callbacks of LightGBM: one before each round, and one after it."""
        return iter((_BeforeRound(self.begin_round), self))

    def __len__(self) -> int:
        """Return 2, since ``lightgbm.train`` asks for the number of its callbacks if the list is this object."""
        return 2

    def append(self, _: object) -> None:
        """Refuse to be the list of callbacks, to which ``fit`` of LightGBM's estimators appends its own.

        Raises:
            SettingsError: Always.
        """
        raise SettingsError(_STAR)

    @property
    def run(self) -> Run:
        """The run of the present training, or of the last one.

        Raises:
            LoopError: No training has begun yet.
        """
        return self._rounds.run

    @property
    def init_model(self) -> Any:
        """The model to continue, for ``init_model=`` of the training; None if there is nothing to resume.

        It begins the run, and finds the checkpoint to resume from.
        """
        if not self._waits:
            self._begin()
        return self._subject.loaded

    @property
    def _waits(self) -> bool:
        """Whether a run has begun whose booster is not known yet."""
        return self._rounds.open and self._subject.booster is None

    def _begin(self) -> None:
        self._subject = LightGBMSubject()
        self._rounds.begin(self._subject)

    def _enter(self, env: Any) -> None:
        """Begin the run of a training at its first event, or continue the one that ``init_model`` has begun."""
        if env.model is self._subject.booster:
            return
        _LIBRARY.check_model(env.model, lightgbm.Booster)
        check_resume("LightGBMCallback", self._rounds.options.get("resume"))
        call, rounds = _LIBRARY.train_call(), self._rounds
        names, training = _data_names(call)
        rounds.check_data(names, training)
        if not self._waits:
            self._begin()
        driver, subject = rounds.driver, self._subject
        assert driver is not None
        try:
            _check_model(env.begin_iteration, subject)
            rounds.check_begin(env.begin_iteration)
            check_schedule(rounds.callbacks, _schedule_in(_set_of(call, self) or ()))
            subject.adopt(env.model, rounds.options.get("resume_learning_rates", "checkpoint"))
        except BaseException as error:
            driver.end(error)
            raise
        rounds.plan(env.end_iteration - env.begin_iteration, training)
        rounds.report_sampling(subject.sampling)
        if (loop := _set_of(call, self)) is not None:
            weakref.finalize(loop, _left, weakref.ref(self), env.model)

    def begin_round(self, env: Any) -> None:
        """Begin a round."""
        self._enter(env)
        self._trains = self._rounds.begin_round()
        if self._trains:
            self._check_data(env)

    def __call__(self, env: Any) -> None:
        """End a round.

        Raises:
            EarlyStopException: The training is over.
            SettingsError: LightGBM has not called the callback before the round.
        """
        if self._trains is None:
            self._refuse_alone(env)
        trained, self._trains = self._trains, None
        if not trained:
            env.model.rollback_one_iter()  # LightGBM asks no callback before it trains the first round
            self._stop(env)
        values: dict[str, dict[str, float]] = {}
        for data, metric, value, *_ in env.evaluation_result_list or ():
            values.setdefault(data, {})[metric] = float(value)
        self._rounds.end_round(values)
        if self._rounds.is_over:
            self._stop(env)
        if env.iteration + 1 == env.end_iteration:
            self._rounds.end()
        else:
            self._check_data(env)

    def _refuse_alone(self, env: Any) -> Never:
        """Refuse a training that calls nothing before its rounds, where decisions act."""
        _LIBRARY.check_model(env.model, lightgbm.Booster)
        error = SettingsError(_STAR)
        if self._waits and self._rounds.driver is not None:
            self._rounds.driver.end(error)
        raise error

    def _check_data(self, env: Any) -> None:
        """Refuse to train on after a decision has restored the model: LightGBM has freed the data then."""
        driver = self._rounds.driver
        if self._rounds.open and driver is not None and not hasattr(env.model, "train_set"):
            error = LoopError(
                "a plugin has restored the model in the middle of a training, and LightGBM frees the data of a model "
                "that it loads; restore it at the end of the run, or stop the run with it"
            )
            driver.end(error)
            raise error

    def leave(self, booster: Any) -> None:
        """End the run if it is still open, when LightGBM has left its loop: by another callback, or by an error."""
        driver = self._rounds.driver
        if booster is self._subject.booster and driver is not None and self._rounds.open:
            if booster.best_iteration > 0:  # of a training that was stopped
                self._rounds.end()
            else:
                driver.abandon()

    def _stop(self, env: Any) -> None:
        self._rounds.end()
        raise lightgbm.callback.EarlyStopException(env.model.current_iteration() - 1, env.evaluation_result_list or [])


@dataclass(frozen=True)
class _BeforeRound:
    """The callback of LightGBM before each round; LightGBM calls equal ones only once."""

    before_iteration: ClassVar[bool] = True
    begin: Callable[[Any], None]
    order: int = _ORDER

    def __call__(self, env: Any) -> None:
        self.begin(env)


def _data_names(call: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """Return the names of the data sets that are evaluated, and of those that are the training data."""
    sets, names = call.get("valid_sets") or (), call.get("valid_names") or ()
    evaluated: list[str] = []
    training: list[str] = []
    for number, each in enumerate(sets):
        default = "training" if each is call["train_set"] else f"valid_{number}"
        evaluated.append(names[number] if number < len(names) else default)
        if each is call["train_set"]:
            training.append(evaluated[-1])
    return evaluated, training


def _check_model(begun: int, subject: LightGBMSubject) -> None:
    """Check that a training continues the model that the resumed run has loaded.

    Args:
        begun: The rounds of the model with which the training begins.
        subject: The subject, which has loaded the model unless a state was given.

    Raises:
        LoopError: It does not.
    """
    if subject.loaded is not None and begun != (rounds := subject.loaded.current_iteration()):
        raise LoopError(
            f"the run is resumed from a model of {rounds} rounds, but this training begins after {begun}; give "
            "lightgbm init_model=callback.init_model"
        )


def _set_of(call: Mapping[str, Any], callback: LightGBMCallback) -> set[Any] | None:
    """Return an object that exists as long as the loop does: the set of its callbacks."""
    return next((each for each in call.values() if isinstance(each, set) and callback in each), None)


def _schedule_in(callbacks: Iterable[Any]) -> str | None:
    """Return what sets the learning rate before each round, if one of the callbacks of LightGBM does."""
    kind: Any = type(lightgbm.reset_parameter())
    names = (name for each in callbacks if isinstance(each, kind) for name in each.kwargs if name in RATE_NAMES)
    return next((f"lightgbm.reset_parameter({name}=...)" for name in names), None)


def _left(reference: Callable[[], LightGBMCallback | None], booster: Any) -> None:
    callback = reference()
    if callback is not None:
        callback.leave(booster)
