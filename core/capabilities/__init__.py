"""What a subject can do: one small Protocol for each capability that a callback may need.

A subject is any object; it has a capability if it has the Protocol's methods. If it has the methods but lacks the
capability (an estimator without a learning rate, for example), its optional method ``refusal(capability)`` says why.
"""

from .checks import Refuses, has, in_words, missing, saves_in_background, supports
from .inspection import HasActivations, HasConfig, HasGradients, HasGraph, HasTrace, HasWeights, Node
from .processes import HasRanks, JoinsRanks, Ranks, Sharded
from .saving import (
    BackgroundSaveable,
    PartWriters,
    Restorable,
    Saveable,
    SavesContent,
    SavesParts,
    SavesSomeInBackground,
    Snapshotable,
    SnapshotsMore,
)
from .training import (
    ChecksState,
    ChecksTraining,
    CountsSamples,
    DrawsProgress,
    HasDirections,
    HasLearningRate,
    HasOptimizerOptions,
    HasRandomState,
    HasRunState,
    HasStateDict,
    ReportsMeans,
    RoundsLearningRates,
    TracksLearningRate,
)

__all__ = [
    "BackgroundSaveable",
    "ChecksState",
    "ChecksTraining",
    "CountsSamples",
    "DrawsProgress",
    "HasActivations",
    "HasConfig",
    "HasDirections",
    "HasGradients",
    "HasGraph",
    "HasLearningRate",
    "HasOptimizerOptions",
    "HasRandomState",
    "HasRanks",
    "HasRunState",
    "HasStateDict",
    "HasTrace",
    "HasWeights",
    "JoinsRanks",
    "Node",
    "PartWriters",
    "Ranks",
    "Refuses",
    "ReportsMeans",
    "Restorable",
    "RoundsLearningRates",
    "Saveable",
    "SavesContent",
    "SavesParts",
    "SavesSomeInBackground",
    "Sharded",
    "Snapshotable",
    "SnapshotsMore",
    "TracksLearningRate",
    "has",
    "in_words",
    "missing",
    "saves_in_background",
    "supports",
]
