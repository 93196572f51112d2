"""skorch: a callback that turns every ``fit`` of a net into a run."""

# skorch declares no types
# pyright: basic, reportMissingImports=false, reportAttributeAccessIssue=false

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, Unpack

from trainbus import LoopError, MissingDependency, Run, SettingsError
from trainbus.binding import RunDriver, RunOptions, check_options, options_of_next
from trainbus.failures import LOG
from trainbus.metrics.missing_metric import MetricAdvice
from trainbus.metrics.names import is_validated
from trainbus.metrics.scalars import to_scalars
from trainbus.settings.arguments import checked
from trainbus.settings.plugin_list import as_list

try:
    import torch
    from skorch.callbacks import Callback, LRScheduler
    from skorch.dataset import get_len
except ImportError as error:
    raise MissingDependency(f"{error}; pip install 'trainbus[skorch]'") from error

from .shared.call_stack import frames
from .shared.clones import check_resume
from .torch.subject import TorchSubject

__all__ = ["SkorchCallback"]

USAGE = "NeuralNet(..., callbacks=[SkorchCallback(callbacks)])"
"""What a user writes, for messages."""

_DEFAULTS = {
    name: each.default
    for name, each in inspect.signature(Run.__init__).parameters.items()
    if name in RunOptions.__annotations__
}
_ADVICE = MetricAdvice(
    "leave train_split of the net as it is, or give it a split with validation data",
    "add a callback that records it in net.history, such as EpochScoring(..., name={name!r})",
)
_NO_METRICS = ("epoch", "dur")


class SkorchCallback(Callback):  # type: ignore[misc, unused-ignore]
    """A callback of skorch that runs a list of trainbus callbacks in every ``fit``.

    ::

        bus = SkorchCallback([EarlyStopping(patience=3), ModelCheckpoint("best.pt", save_best_only=True)])
        net = NeuralNetClassifier(Module, max_epochs=100, callbacks=[bus])
        net.fit(X, y)
        print(bus.run.result)

    Each ``fit`` is a separate run. Its metrics are those in ``net.history``, under their names: ``train_loss``,
    ``valid_loss``, ``valid_acc``; ``monitor="val_loss"`` finds ``valid_loss``. The callback acts after all others, so
    it may stand anywhere in the list, but after an ``LRScheduler``. A stop raises ``KeyboardInterrupt``, as skorch's
    own early stopping does: ``fit`` handles it. In the middle of an epoch, this leaves out the validation.

    ``partial_fit`` after a run that ended in order is a new run, whose epochs count on. After a Ctrl-C it continues the
    run that was interrupted, also in the middle of an epoch, up to the last epoch that was planned. So does
    ``partial_fit`` of a net that was pickled in a fit, for example by skorch's ``Checkpoint(f_pickle=...)``: the pickle
    holds the state of the run. Files of parameters alone, for ``LoadInitState``, do not.

    With ``resume="auto"``, ``fit`` continues from the newest checkpoint of trainbus's ``ModelCheckpoint``, and
    ``net.history`` has the earlier epochs again, without their batches. Batches that were trained on are given to the
    module once more without training, since skorch cannot leave them out; ``net.history`` has their mean as their loss.

    ``clone`` and ``GridSearchCV`` copy the callback; each fit is a run with files of its own if their names have the
    field ``{run}``, as in ``ModelCheckpoint("{run}/best.pt")``. ``resume`` is refused in a search, where each fit is to
    begin anew.

    If the data, the module or another callback raises an error, ``fit`` notifies no callback: the run ends when the
    next ``fit`` begins or Python exits.

    Args:
        callbacks: Callbacks, as in ``trainbus.Run``, or a single one.
        probe: Data for TensorBoard's activations and graph, as in ``TorchSubject``.
        options: Further arguments of ``trainbus.Run``. ``resume`` and ``start`` are for the first ``fit``.

    Raises:
        SettingsError: There is no such argument.
    """

    @checked("SkorchCallback", "give several callbacks as one list: SkorchCallback([...])")
    def __init__(self, callbacks: Any = (), probe: Any = None, **options: Unpack[RunOptions]) -> None:
        check_options("SkorchCallback", options, ["callbacks", "probe"])
        self.probe = probe
        self.callbacks = callbacks  # unchanged, since clone() compares it; names that end in _ are no parameters
        for name, default in _DEFAULTS.items():
            setattr(self, name, options.get(name, default))
        self.driver_: RunDriver | None = None
        self.earlier_: Run | None = None
        """The last run of the callback that this one is a copy of."""
        self.given_: tuple[Mapping[str, Any], int] | None = None
        """State and planned epochs of a run that is to be continued."""
        self.new_ = True
        """Whether the net has been initialised since the last fit."""
        self.max_epochs_: int | None = None
        """The setting of the net, while the fit begins with fewer epochs."""
        self.validating_ = self.skipped_ = False

    def __getstate__(self) -> dict[str, Any]:
        """Return the contents of a pickle or a copy: the settings, and the data of the last run without its model."""
        given, driver = self.given_, self.driver_
        if driver is not None and driver.run.state.phase == "open":
            given = self._state_of(driver)
        last = self.earlier_ if driver is None else driver.run
        return {**vars(self), "driver_": None, "earlier_": last, "given_": given}

    @property
    def run(self) -> Run:
        """The run of the current ``fit``, or of the last one.

        Raises:
            LoopError: No ``fit`` has begun yet.
        """
        if self.driver_ is not None:
            return self.driver_.run
        if self.earlier_ is not None:
            return self.earlier_
        raise LoopError("no run yet: it begins in net.fit(...), with this callback in callbacks=[...] of the net")

    def _state_of(self, driver: RunDriver) -> tuple[Mapping[str, Any], int] | None:
        if not driver.in_batch:
            return driver.run.state_dict(), driver.run.state.plan.total or 0
        LOG.warning(
            "the SkorchCallback was pickled inside of a batch, without the state of its run; pickle the net at the "
            "end of an epoch"
        )
        return None

    def initialize(self) -> SkorchCallback:
        """Begin anew: the net is initialised."""
        self.new_, self.given_ = True, None
        return self

    # --- the events of skorch

    def on_train_begin(self, net: Any, X: Any = None, y: Any = None, **kwargs: Any) -> None:  # noqa: N803
        """Begin a run, or continue one."""
        last = self.driver_
        if last is not None:
            last.abandon()
        check_resume("SkorchCallback", vars(self)["resume"])
        options, epochs = self._plan(net)
        self.new_, self.given_, self.validating_ = False, None, False
        net.callbacks_ = [*(each for each in net.callbacks_ if each[1] is not self), (_name(net, self), self)]
        self.driver_ = driver = RunDriver(_subject(net, self.probe), as_list(self.callbacks), **options)
        driver.begin(epochs, validation_freq=1, advice=_ADVICE, loop_is_alive=lambda: _fits(net))
        first = driver.first_epoch
        if driver.run.resumed is not None:
            first += self._continue(net, driver)
        self.max_epochs_, net.max_epochs = net.max_epochs, 0 if driver.stopped else max(epochs - first, 0)

    def _plan(self, net: Any) -> tuple[dict[str, Any], int]:
        """Return the options of the run, and its last epoch."""
        self._restore_epochs(net)
        options: dict[str, Any] = {name: getattr(self, name) for name in _DEFAULTS}
        last = self.earlier_ if self.driver_ is None else self.driver_.run
        if self.given_ is not None:
            state, epochs = self.given_
            return {**options, "resume": state}, epochs
        if last is None:
            return options, net.max_epochs
        instead = "make a new net with SkorchCallback(resume='auto')"
        options = options_of_next(options, last, "fit()", instead)
        done = 0 if self.new_ else last.state.epochs_finished
        options["start"] = {"epoch": done} if done else None
        return options, done + net.max_epochs

    def _continue(self, net: Any, driver: RunDriver) -> bool:
        """Make the history of the net that of the run; return whether an epoch was ended."""
        history, saved, mid_epoch = net.history, driver.run.resumer.saved, driver.run.resumer.mid_epoch
        if not history:
            for epoch, metrics in driver.run.state.epoch_metrics:
                history.new_epoch()
                history.record("epoch", epoch + 1)
                for name, value in to_scalars(metrics).items():
                    history.record(name, value)
        elif mid_epoch and len(history) == driver.first_epoch + 1:
            if "train_batch_count" in history[-1]:  # pickled by a callback at the end of the epoch
                driver.begin_epoch(driver.first_epoch, batch=saved.position.batches)
                self._finish_epoch(net, driver)
                return True
            history.pop()
        return False

    def on_epoch_begin(self, net: Any, dataset_train: Any = None, dataset_valid: Any = None, **kwargs: Any) -> None:
        """Begin an epoch."""
        self._restore_epochs(net)  # the loop has begun, and has read it
        if (driver := self.driver_) is not None:
            driver.begin_epoch()
            if driver.batches_to_skip:
                vars(net)["train_step"] = self._without_training(net, driver, net.train_step)

    def on_batch_begin(self, net: Any, batch: Any = None, training: bool = False, **kwargs: Any) -> None:  # noqa: FBT001, FBT002
        """Begin a batch, or a validation at its first batch."""
        driver = self.driver_
        if driver is None:
            return
        if training:
            vars(net).pop("train_step", None)  # the loop has it
            if not driver.batches_to_skip and not driver.begin_batch():  # a killed run had stopped here
                raise KeyboardInterrupt
        elif not self.validating_:
            self.validating_ = True
            driver.begin_validation()

    def on_batch_end(self, net: Any, batch: Any = None, training: bool = False, **kwargs: Any) -> None:  # noqa: FBT001, FBT002
        """End a batch."""
        driver = self.driver_
        if training and driver is not None:
            if self.skipped_:
                self.skipped_ = False
                return
            if driver.run.state.epoch_open:
                size = get_len(batch[0]) if isinstance(batch, (tuple, list)) else get_len(batch)
                driver.run.log({"train_loss": kwargs["loss"].item()}, count=size)
            driver.end_batch()
            if driver.stopped:
                raise KeyboardInterrupt

    def _without_training(self, net: Any, driver: RunDriver, train_step: Callable[..., Any]) -> Callable[..., Any]:
        """Return a step that does not train on the batches that were trained on before the run was interrupted."""
        mean = torch.tensor(driver.run.state.means["train_loss"], dtype=torch.float64)

        def step(batch: Any, **fit_params: Any) -> Any:
            self.skipped_ = driver.batches_to_skip > 0
            if not self.skipped_:
                return train_step(batch, **fit_params)
            predicted = net.evaluation_step(batch)
            driver.begin_batch()  # after the last of them, it restores the random generators
            return {"loss": mean, "y_pred": predicted}

        return step

    def on_epoch_end(self, net: Any, dataset_train: Any = None, dataset_valid: Any = None, **kwargs: Any) -> None:
        """End the epoch, after all other callbacks."""
        if (driver := self.driver_) is not None:
            self._finish_epoch(net, driver)
            if driver.stopped:
                raise KeyboardInterrupt

    def _finish_epoch(self, net: Any, driver: RunDriver) -> None:
        metrics = _metrics(net.history[-1])
        validated = {name: value for name, value in metrics.items() if is_validated(name)}
        if validated:
            if not self.validating_:
                driver.begin_validation()
            driver.end_validation(validated)
        self.validating_ = False
        metrics.pop("train_loss", None)  # the mean of the batches, which a resumed run has to the bit
        driver.end_epoch({name: value for name, value in metrics.items() if name not in validated})

    def on_train_end(self, net: Any, X: Any = None, y: Any = None, **kwargs: Any) -> None:  # noqa: N803
        """End the run."""
        self._restore_epochs(net)
        if (driver := self.driver_) is not None:
            driver.end()
            if driver.run.state.interrupted:  # now, since the state of the random generators belongs to it
                self.given_ = self._state_of(driver)

    def _restore_epochs(self, net: Any) -> None:
        if self.max_epochs_ is not None:
            net.max_epochs, self.max_epochs_ = self.max_epochs_, None


def _name(net: Any, callback: SkorchCallback) -> str:
    return str(next(name for name, each in net.callbacks_ if each is callback))


def _subject(net: Any, probe: Any) -> TorchSubject:
    """Return the subject of a net that is initialised."""
    schedulers: dict[str, Any] = {}
    for name, each in net.callbacks_:
        if isinstance(each, LRScheduler):
            schedulers[name] = getattr(each, "lr_scheduler_", None)
    if None in schedulers.values():
        raise SettingsError("list SkorchCallback after LRScheduler, whose schedule begins before the run then")
    modules = {name: getattr(net, f"{name}_") for name in net._modules}  # noqa: SLF001 - documented, without a public name
    optimizers = {name: getattr(net, f"{name}_") for name in net._optimizers}  # noqa: SLF001
    criteria = {name: getattr(net, f"{name}_") for name in net._criteria}  # noqa: SLF001
    extra = {name: each for name, each in criteria.items() if isinstance(each, torch.nn.Module) and each.state_dict()}
    parts = _alone(modules), _alone(optimizers)
    subject = TorchSubject(*parts, scheduler=_alone(schedulers) or None, extra=extra, probe=probe)
    subject.made_by = "SkorchCallback"
    return subject


def _alone(named: dict[str, Any]) -> Any:
    return next(iter(named.values())) if len(named) == 1 else named


def _metrics(row: Mapping[str, Any]) -> dict[str, float]:
    """Return the metrics in a row of the net's history."""
    left = {
        name: value
        for name, value in row.items()
        if name not in _NO_METRICS and not name.endswith("_batch_count") and not name.startswith("event_")
    }
    return to_scalars({name: value for name, value in left.items() if not isinstance(value, (list, dict))})


def _fits(net: Any) -> bool:
    """Return whether a fit of the net is running: skorch reports no errors to callbacks."""
    return any(each.f_code.co_name == "partial_fit" and each.f_locals.get("self") is net for each in frames())
