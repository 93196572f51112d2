"""Show a run in TensorBoard: curves, histograms and images of weights, the graph, decisions, embeddings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from trainbus.capabilities import HasWeights
from trainbus.settings.run_id import RunStart
from trainbus.storage.paths import absolute

from .epoch_recorder import EpochRecorder
from .settings import TensorBoardSettings


class TensorBoard(TensorBoardSettings):
    """Write TensorBoard event files in Keras's layout, without TensorFlow.

    With the default layout the directory gets two runs, which TensorBoard shows in the same charts: ``train`` with
    every metric as epoch_<name>, including the learning rate of each parameter group; and ``validation`` with the
    metrics whose names begin with ``val_``, also as epoch_<name>. Steps are epochs, counted from 0. Metrics that
    are not single numbers are omitted; NaN is shown as NaN. Weights appear as <name>/histogram and <name>/image, their
    gradients as <name>/gradient, layer outputs as <layer>/activation, and the number of decisions in each epoch as
    training_decisions/<kind>.

    A background thread writes the files. An event is in its file within a second, and before any later checkpoint is
    written. The files are always closed at the end of the run, even after an error. If something cannot be computed or
    written (if the disk is full, for example), it is logged in one line, added to ``run.failures``, and training
    continues.

    A second run with the same directory adds to it. A run is refused while another one writes to its directory.

    >>> TensorBoard("logs", histogram_freq=1).log_dir
    'logs'
    >>> TensorBoard(update_freq=True)
    Traceback (most recent call last):
        ...
    trainbus.errors.SettingsError: TensorBoard: update_freq=True: give "epoch", "batch", or a number of ...
    """

    def __hash__(self) -> int:
        return hash(self.model_dump_json())

    def requires(self) -> tuple[type, ...]:
        """Require a subject with weights if histograms or embeddings are asked for."""
        return (HasWeights,) if self.histogram_freq or self.embeddings_freq else ()

    def exclusive_paths(self, subject: object = None) -> tuple[str, ...]:
        """Return the directory, as an absolute path."""
        return (absolute(self.log_dir),)

    def directories(self) -> tuple[str, ...]:
        """Return the directory, as an absolute path."""
        return self.exclusive_paths()

    def path_settings(self) -> tuple[str, ...]:
        """Return "log_dir"."""
        return ("log_dir",)

    def effective_settings(self, subject: object = None) -> dict[str, Any]:
        """Return the settings with the directory as an absolute path."""
        return {**super().effective_settings(subject), "log_dir": absolute(self.log_dir)}

    def compatible_with(self, earlier: Mapping[str, Any], subject: object = None) -> bool:
        """Return whether directory and layout are the same."""
        present = self.effective_settings(subject)
        return all(earlier.get(name) == present[name] for name in ("log_dir", "layout"))

    def for_run(self, start: RunStart) -> TensorBoard:
        """Return the callback of one run, with the run's id in its path.

        Args:
            start: How the run starts.

        Raises:
            SettingsError: The path needs an id, which was not given.
        """
        return self.with_option("log_dir", start.fill("TensorBoard: log_dir", self.log_dir))

    def plugin(self) -> object:
        """Return a new plugin for one run."""
        return EpochRecorder(self)
