"""A Lightning callback that runs a list of trainbus callbacks in every ``Trainer.fit``."""

# Lightning's trainer has few types
# pyright: basic

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Unpack

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.strategies import DDPStrategy, SingleDeviceStrategy

from trainbus import LoopError, Run, SettingsError
from trainbus.binding import RunDriver, RunOptions, check_options, continues
from trainbus.failures import LOG
from trainbus.metrics.missing_metric import MetricAdvice
from trainbus.settings.arguments import checked
from trainbus.settings.plugin_list import as_list

from ..torch.plain_snapshots import with_plain_snapshots, with_snapshots
from .subject import LightningSubject

_ADVICE = MetricAdvice(
    "give the LightningModule a validation_step, and fit() data for it; Trainer(check_val_every_n_epoch=...) says in "
    "which epochs it runs",
    "log it: self.log({name!r}, value) in training_step, validation_step or a hook of their epoch",
)


class LightningCallback(Callback):
    """A Lightning callback that runs a list of trainbus callbacks in every ``fit`` of its trainer.

    ::

        bus = LightningCallback([EarlyStopping(patience=3), ModelCheckpoint("best.pt", save_best_only=True)])
        Trainer(callbacks=[bus], max_epochs=100).fit(model, train_loader, val_loader)
        print(bus.run.result)

    Each ``fit`` is a separate run, whose ``step`` is the trainer's ``global_step``. Metrics are those that the module
    logs by ``self.log``, as ``trainer.callback_metrics`` has them, and those of several processes are the mean over
    them. The sanity check is no validation. A decision to stop sets ``trainer.should_stop``, which Lightning obeys once
    ``min_epochs`` and ``min_steps`` are reached. Lightning draws its own progress bar, so ``verbose`` prints decisions
    only, unless the trainer has none. Works on one device, and on several with the strategies "ddp", "ddp_spawn" and
    "ddp_notebook"; with "ddp_spawn", ``run`` exists in the processes that it starts.

    There are two ways to resume, and both continue exactly, also in the middle of an epoch if the loader can be
    iterated over again:

    - ``fit(ckpt_path=...)``: Lightning's own checkpoint holds the state of the run as well, with the best weights that
      ``EarlyStopping(restore_best_weights=True)`` keeps.
    - ``resume="auto"``: the newest checkpoint of trainbus's ``ModelCheckpoint``. It holds the module, its optimizers,
      its schedulers and the position of Lightning's loops. The states of other Lightning callbacks and of a
      datamodule begin anew, since only Lightning saves them. ``ckpt_path`` has precedence.

    Not exact: a resume between the batches of one accumulated update loses their gradients; torchmetrics objects see
    only the rest of an interrupted epoch; PyTorch's ReduceLROnPlateau, which Lightning steps after a save at the end of
    an epoch, misses that epoch.

    Args:
        callbacks: Callbacks, as in ``trainbus.Run``, or a single one.
        probe: Data for TensorBoard's activations and graph, as in ``TorchSubject``.
        timeout: Seconds that one of several processes waits for the others before it raises an error.
        options: Further arguments of ``trainbus.Run``. ``resume`` is used in the first ``fit``; with "auto", a ``fit``
            that was broken off by an error or an interrupt is continued by the next one.

    Raises:
        SettingsError: An argument is wrong. What a callback needs of the module is checked when ``fit`` begins.
    """

    @checked("LightningCallback", "give several callbacks as one list: LightningCallback([...])")
    def __init__(
        self, callbacks: Any = (), *, probe: Any = None, timeout: float = 1800, **options: Unpack[RunOptions]
    ) -> None:
        check_options("LightningCallback", options, ["callbacks", "probe", "timeout"])
        super().__init__()
        self.callbacks: list[Any] = as_list(callbacks)
        self._probe, self._timeout, self._options = probe, timeout, options
        self._has_fitted = False
        """Whether a ``fit`` has begun, so that ``resume`` was used."""
        self._given: Mapping[str, Any] | None = None
        """The state in the checkpoint of Lightning that ``fit`` loads."""
        self._last: Run | None = None
        self._forget_fit()

    def _forget_fit(self) -> None:
        """Drop what belongs to one ``fit``."""
        self._driver: RunDriver | None = None
        self._subject: Any = None
        self._loops: Any = None
        self._updates: Any = None
        self._state: dict[str, Any] | None = None
        """The state of the run at its end; None before, and if later states are the same."""
        self._restore_hook: Callable[[], object] = int
        self._step = 0
        self._before: dict[str, Any] = {}
        """All metrics of the trainer when the epoch began."""
        self._before_validation: dict[str, Any] = {}
        self._validated: dict[str, Any] = {}
        """The metrics of the validations of this epoch."""

    def __getstate__(self) -> dict[str, Any]:
        """Return the contents of a pickle or a copy: the settings, and the data of the last run without its model."""
        blank = LightningCallback()
        return {**vars(blank), **{name: vars(self)[name] for name in _KEPT}}

    @property
    def run(self) -> Run:
        """The run of the current ``fit``, or of the last one.

        Raises:
            LoopError: No ``fit`` has begun yet.
        """
        if self._last is None:
            raise LoopError(
                "no run yet: it begins in Trainer(callbacks=[this LightningCallback]).fit(...), in the processes that "
                "fit() starts if it starts some"
            )
        return self._last

    # --- the beginning and the end of a fit

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Drop a state that ``validate``, ``test`` or ``predict`` has loaded."""
        package = type(trainer).__module__.partition(".")[0]
        if not isinstance(trainer, Trainer) and package == "pytorch_lightning":
            raise SettingsError(
                "the Trainer is that of pytorch_lightning, and LightningCallback is a callback of lightning, which has "
                "the same classes; write `import lightning.pytorch as pl` in place of `import pytorch_lightning as pl`"
            )
        self._given = None

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Make the run, so that settings which cannot work are refused before the training."""
        if self._driver is not None:
            self._end(LoopError("another fit() has begun before this one ended"))
        self._forget_fit()
        if getattr(trainer, "fast_dev_run", False):
            LOG.warning("trainbus's callbacks are not used: Trainer(fast_dev_run=...) disables all that save and stop")
            return
        if not isinstance(trainer.strategy, (SingleDeviceStrategy, DDPStrategy)):
            raise SettingsError(
                f"LightningCallback works with one device or a DDP strategy, and the trainer has a "
                f"{type(trainer.strategy).__name__}, which divides or wraps the model and its optimizers; "
                "use Trainer(strategy='ddp')"
            )
        self._make_run(trainer, pl_module)

    def _make_run(self, trainer: Trainer, module: LightningModule) -> None:
        options, report = self._options.copy(), LOG.warning if trainer.is_global_zero else _say_nothing
        source = options.get("resume")
        if self._given is not None:
            options["resume"] = with_snapshots(self._given)
            if source is not None:
                report("resume=%r is not used, since fit(ckpt_path=%r) is", source, str(trainer.ckpt_path))
        elif self._has_fitted and source is not None and (self._last is None or not continues(source, self._last)):
            options["resume"] = None
            report(
                "resume=%r was used in the first fit() of this LightningCallback: this fit() is a new run; to "
                "continue the earlier run, make a new LightningCallback(resume='auto')",
                source,
            )
        if self._has_fitted:
            options.pop("start", None)
        if trainer.current_epoch and (options.get("resume") is None or trainer.ckpt_path is not None):
            options.setdefault("start", {"epoch": trainer.current_epoch, "step": trainer.global_step})
        self._subject = LightningSubject(trainer, module, probe=self._probe, timeout=self._timeout)
        self._loops = self._subject.loops
        self._driver = RunDriver(self._subject, self.callbacks, **options)
        self._last = self._driver.run

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin the run; let Lightning's loops continue where a resumed run was interrupted."""
        if self._driver is None:
            return
        is_new = self._given is None and trainer.ckpt_path is not None and bool(trainer.current_epoch)
        if is_new:  # Lightning knows only now with which epoch it begins
            self._make_run(trainer, pl_module)
        driver, run = self._driver, self._driver.run
        self._begin(trainer, driver)
        if run.resumer.mid_epoch and trainer.num_training_batches == float("inf"):
            raise SettingsError(
                "the run was interrupted in the middle of an epoch, where Lightning cannot continue with a loader that "
                "has no length; resume from a checkpoint of the end of an epoch, or give the loader a __len__"
            )
        if is_new and run.resumed is None and trainer.is_global_zero:
            LOG.warning("%s holds no state of this LightningCallback: its callbacks begin anew", trainer.ckpt_path)
        if run.resumed is not None or driver.first_epoch != trainer.current_epoch:
            self._loops.begin_at(driver, self._subject.saved_loops)
        self._updates, self._step = self._loops.updates(), trainer.global_step
        self._before = dict(trainer.callback_metrics)
        if type(pl_module).on_train_epoch_end is not LightningModule.on_train_epoch_end:
            self._end_epoch_after(pl_module, trainer)
        trainer.should_stop = trainer.should_stop or driver.stopped

    def _begin(self, trainer: Trainer, driver: RunDriver) -> None:
        epochs, batches = trainer.max_epochs, trainer.num_training_batches
        validates = trainer.enable_validation
        self._has_fitted = True
        driver.begin(
            None if epochs in (None, -1) else epochs,
            batches=int(batches) if batches != float("inf") else None,
            validation_freq=trainer.check_val_every_n_epoch if validates else (),
            advice=_ADVICE,
            obeys_stop=not (trainer.min_epochs or trainer.min_steps),
        )

    def _end_epoch_after(self, module: LightningModule, trainer: Trainer) -> None:
        """End each epoch after the module's own hook, whose metrics Lightning shows to its own callbacks only."""
        own = module.on_train_epoch_end

        def on_train_epoch_end() -> None:
            own()
            self._end_epoch(trainer)

        module.on_train_epoch_end = on_train_epoch_end  # type: ignore[method-assign]
        self._restore_hook = partial(module.__dict__.pop, "on_train_epoch_end", None)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """End the run."""
        driver = self._driver
        if driver is not None and driver.run.world_size > 1:
            self._state = self._present_state(driver.run)
        self._end()

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin and end the run of a ``fit`` that had nothing to train."""
        if self._driver is not None and self._driver.run.state.phase == "new":
            self._begin(trainer, self._driver)
            self._end()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """End the run with the error."""
        self._end(exception)

    def _end(self, error: BaseException | None = None) -> None:
        self._restore_hook()
        self._restore_hook = int
        if self._driver is not None:
            self._driver.end(error)

    # --- epochs, batches and validations

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin an epoch."""
        if self._driver is not None:
            self._loops.begin_epoch(self._driver)
            self._before, self._validated = dict(trainer.callback_metrics), {}

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Begin a batch."""
        if self._driver is not None:
            self._loops.in_batch = True
            if self._loops.earlier:
                self._loops.continue_sums()
            self._driver.begin_batch()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """End a batch."""
        driver = self._driver
        if driver is None:
            return
        loops = self._loops
        loops.in_batch, loops.awaits_validation = False, True
        step, self._step = self._step, self._updates.completed
        listened = driver.run.has_batch_listeners
        driver.end_batch(self._training_metrics(trainer) if listened else None, self._step - step)
        if driver.stopped:
            self._obey(trainer, driver)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin a validation."""
        if self._driver is not None and not trainer.sanity_checking:
            self._before_validation = dict(trainer.callback_metrics)
            self._driver.begin_validation()

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """End a validation with the metrics that it has logged."""
        driver = self._driver
        if driver is not None and not trainer.sanity_checking:
            self._loops.awaits_validation = False
            present, before = dict(trainer.callback_metrics), self._before_validation
            logged = {name: value for name, value in present.items() if value is not before.get(name)}
            self._validated |= logged
            driver.end_validation(logged)
            self._obey(trainer, driver)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """End an epoch, unless the module's own hook is still to come."""
        if "on_train_epoch_end" not in vars(pl_module):
            self._end_epoch(trainer)

    def _end_epoch(self, trainer: Trainer) -> None:
        driver = self._driver
        if driver is not None:
            driver.end_epoch({**self._loops.earlier_metrics(), **self._training_metrics(trainer)})
            self._obey(trainer, driver)

    def _obey(self, trainer: Trainer, driver: RunDriver) -> None:
        """Let Lightning stop if a decision has stopped the run, or the run is over."""
        if not driver.stopped:
            return
        trainer.should_stop = True
        if driver.run.state.phase == "ended" and self._state is None:
            self._state = self._present_state(driver.run)  # Lightning still validates, which draws random numbers
            if (trainer.min_epochs or 0) > trainer.current_epoch or (trainer.min_steps or 0) > trainer.global_step:
                LOG.warning("Lightning trains on without callbacks until min_epochs= and min_steps= of its Trainer")

    def _training_metrics(self, trainer: Trainer) -> dict[str, Any]:
        """Return the metrics of this epoch that are of no validation; the trainer keeps those of earlier epochs."""
        others = (self._before, self._validated)
        present = trainer.callback_metrics.items()
        return {name: value for name, value in present if all(value is not each.get(name) for each in others)}

    # --- Lightning's checkpoints

    def state_dict(self) -> dict[str, Any]:
        """Return the state of the run for a checkpoint of Lightning; empty if there is no run yet, or in a batch."""
        if self._driver is None or self._driver.run.state.phase == "new":
            return {}
        if self._driver.in_batch:
            LOG.warning(
                "a checkpoint of Lightning is saved inside of a batch, without the state of the run; to resume from it "
                "exactly, save when the batch has ended"
            )
            return {}
        return self._present_state(self._driver.run) if self._state is None else self._state

    @staticmethod
    def _present_state(run: Run) -> dict[str, Any]:
        if run.state.phase == "ended" and run.world_size > 1:  # the other processes do not answer any more
            return {}
        return with_plain_snapshots(run.state_dict())

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Keep the state for the run that begins."""
        self._given = state_dict


_KEPT = ("callbacks", "_probe", "_timeout", "_options", "_has_fitted", "_last")
"""The attributes that a copy of the callback has."""


def _say_nothing(*_: object) -> None:
    """Report nothing, since rank 0 does."""
