"""The entry points of trainbus, for use without its metadata: in a zip file, a frozen application, or a copy."""

from __future__ import annotations

from importlib.metadata import EntryPoint

DISTRIBUTION = "trainbus"
VERSION = "0.1.0"
"""The version of trainbus; pyproject.toml declares the same."""

ENTRY_POINTS = {
    "trainbus.callbacks": {
        "EarlyStopping": "plugins.early_stopping:EarlyStopping",
        "Journal": "plugins.journal.callback:Journal",
        "ModelCheckpoint": "plugins.model_checkpoint.callback:ModelCheckpoint",
        "ReduceLROnPlateau": "plugins.reduce_lr_on_plateau:ReduceLROnPlateau",
        "TensorBoard": "plugins.tensorboard.callback:TensorBoard",
    },
    "trainbus.adapters": {
        "keras": "adapters.keras:KerasSubject",
        "sklearn": "adapters.sklearn:SklearnSubject",
        "torch": "adapters.torch:TorchSubject",
    },
    "trainbus.plugins": {"progress": "plugins.progress:Progress"},
}
"""Group to name to value, without the name of the package; pyproject.toml declares the same for other tools."""


def built_in(group: str) -> list[EntryPoint]:
    """Return the entry points of trainbus itself in a group.

    >>> [point.value for point in built_in("trainbus.plugins")]
    ['trainbus.plugins.progress:Progress']
    """
    package = __name__.partition(".")[0]
    return [EntryPoint(name, f"{package}.{value}", group) for name, value in ENTRY_POINTS.get(group, {}).items()]
