"""XGBoost: a callback that turns every training into a run, a round of which is an epoch."""

# XGBoost passes the arguments of a training to no callback, and declares some types only partly
# pyright: basic, reportMissingImports=false, reportAttributeAccessIssue=false

from __future__ import annotations

from copy import copy
from typing import Any, Unpack

from trainbus import Run, SettingsError
from trainbus.binding import RunOptions
from trainbus.metrics.missing_metric import MetricAdvice
from trainbus.settings.arguments import checked

from ..shared.boosting_library import BoostingLibrary
from ..shared.boosting_run import BoostingRun
from ..shared.clones import check_resume
from ..shared.schedules import check_schedule
from .subject import XGBoostSubject

import xgboost  # isort: skip # after the import that names the missing package

_ADVICE = MetricAdvice(
    "give xgboost.train evals=[(dval, 'val')], or fit eval_set=[(X_val, y_val)]",
    "write it into eval_metric of the parameters, or monitor one that is logged",
)
_LIBRARY = BoostingLibrary(xgboost.train, "XGBoostCallback", "this XGBoostCallback", "xgb_model", _ADVICE)
_KEEPING_RATE = (
    xgboost.callback.EarlyStopping,
    xgboost.callback.EvaluationMonitor,
    xgboost.callback.TrainingCheckPoint,
)
"""Callbacks of XGBoost that do not change the learning rate."""


class XGBoostCallback(xgboost.callback.TrainingCallback):  # pyright: ignore[reportAttributeAccessIssue]
    """An XGBoost callback that runs a list of trainbus callbacks in every training that it is passed to.

    ::

        callback = XGBoostCallback([EarlyStopping(patience=10), ModelCheckpoint("best", save_best_only=True)])
        xgboost.train(params, dtrain, 500, evals=[(dtrain, "train"), (dval, "val")], callbacks=[callback])
        print(callback.run.result)

    It works in the same way in ``XGBClassifier(callbacks=[callback]).fit(X, y, eval_set=[(X_val, y_val)])``. Each round
    is an epoch. Metrics of the training data keep XGBoost's names, such as "logloss"; those of the validation data are
    "val_logloss", and those of a further set have its name as their prefix.

    A resumed run ends with the same last round as an unbroken one: ``resume="auto"`` replaces the model at the begin of
    the training. XGBoost does not save the state of its random generator, so with ``subsample``, ``colsample_by...`` or
    ``rate_drop`` a resumed training draws other rows and columns, as one line in the log says. To continue from a file
    that XGBoost has written, keep ``callback.run.state_dict()`` beside it, as it is after the same round, and give
    ``resume=state`` together with ``xgb_model=``; the number of rounds is then that of the further rounds, as always
    with ``xgb_model``.

    ``GridSearchCV`` and others that train several clones of an estimator copy the callback: each fit is a run. Give
    each files of its own by the field ``{run}``, as in ``ModelCheckpoint("{run}/best")``. ``resume`` is refused there.

    XGBoost reports an error of its own or of another callback to no callback. The run then ends at the next training or
    when Python exits.

    Args:
        callbacks: Callbacks, as in ``trainbus.Run``, or a single one.
        data: The name of the validation data in ``evals``; by default the last that is not the training data.
        metric: The metric that is also logged as "loss" and "val_loss", which callbacks monitor by default; by default
            the last one, by which XGBoost's own early stopping decides, if lower is better.
        options: Further arguments of ``trainbus.Run``, such as ``resume``; the first training resumes.

    Raises:
        SettingsError: An option is wrong, or a callback cannot work with a booster.
    """

    @checked("XGBoostCallback", "give several callbacks as one list: XGBoostCallback([...])")
    def __init__(
        self, callbacks: Any = (), data: str | None = None, metric: str | None = None, **options: Unpack[RunOptions]
    ) -> None:
        super().__init__()
        self._rounds = BoostingRun(_LIBRARY, callbacks, data, metric, options, XGBoostSubject())
        self._subject = XGBoostSubject()
        self._is_alone = False
        """Whether no other callback of the training can change the learning rate."""

    def __getstate__(self) -> dict[str, Any]:
        """Return the contents of a copy or a pickle: the settings."""
        return {**vars(self), "_rounds": copy(self._rounds), "_subject": XGBoostSubject()}

    @property
    def run(self) -> Run:
        """The run of the present training, or of the last one.

        Raises:
            LoopError: No training has begun yet.
        """
        return self._rounds.run

    def before_training(self, model: Any) -> Any:
        """Begin a run."""
        _LIBRARY.check_model(model, xgboost.Booster)
        if xgboost.collective.get_world_size() > 1:
            raise SettingsError("an XGBoostCallback cannot train with several workers; remove it from the callbacks")
        check_resume("XGBoostCallback", self._rounds.options.get("resume"))
        call, rounds, subject = _LIBRARY.train_call(), self._rounds, XGBoostSubject()
        schedules = xgboost.callback.LearningRateScheduler
        scheduled = any(isinstance(each, schedules) for each in call.get("callbacks") or ())
        check_schedule(rounds.callbacks, "xgboost.callback.LearningRateScheduler" if scheduled else None)
        evaluated = call.get("evals") or ()
        training = [name for data, name in evaluated if data is call["dtrain"]]
        if evaluated:
            rounds.check_data([name for _, name in evaluated], training)
        self._subject = subject
        self._is_alone = bool(call) and all(
            each is self or type(each) in _KEEPING_RATE for each in call.get("callbacks") or ()
        )
        subject.adopt(model)
        rounds.begin(subject)
        rounds.check_begin(model.num_boosted_rounds())
        if rounds.continues_state:
            subject.continue_rate()
        rounds.plan(call.get("num_boost_round"), training)
        rounds.report_sampling(subject.sampling)
        return model

    def before_iteration(self, model: Any, epoch: int, evals_log: Any) -> bool:
        """Begin a round; return whether the training is over."""
        if not self._is_alone:
            self._subject.adopt(model)
        return not self._rounds.begin_round()

    def after_iteration(self, model: Any, epoch: int, evals_log: Any) -> bool:
        """End the round; the training ends before the next one, so that XGBoost calls its other callbacks."""
        self._rounds.end_round(
            {data: {name: values[-1] for name, values in metrics.items()} for data, metrics in evals_log.items()}
        )
        return False

    def after_training(self, model: Any) -> Any:
        """End the run."""
        self._subject.adopt(model)
        self._rounds.end()
        return model
