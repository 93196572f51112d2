"""The entry points of trainbus, for code that runs without package metadata: a zip file, a frozen app, a copy."""

from __future__ import annotations

from importlib.metadata import EntryPoint

DISTRIBUTION = "trainbus"
VERSION = "0.1.0"
"""The version of trainbus; pyproject.toml declares the same version."""

ENTRY_POINTS = {
    "trainbus.callbacks": {
        "DeviceStats": "plugins.guards.device_stats:DeviceStats",
        "EarlyStopping": "plugins.early_stopping.callback:EarlyStopping",
        "Journal": "plugins.journal.callback:Journal",
        "LearningRateScheduler": "plugins.guards.learning_rate_scheduler:LearningRateScheduler",
        "ModelCheckpoint": "plugins.model_checkpoint.callback:ModelCheckpoint",
        "ReduceLROnPlateau": "plugins.reduce_lr_on_plateau:ReduceLROnPlateau",
        "TensorBoard": "plugins.tensorboard.callback:TensorBoard",
        "TerminateOnNaN": "plugins.guards.terminate_on_nan:TerminateOnNaN",
        "TimeLimit": "plugins.guards.time_limit:TimeLimit",
        "Watchdog": "plugins.guards.watchdog:Watchdog",
    },
    "trainbus.adapters": {
        "keras": "adapters.keras:KerasSubject",
        "flax": "adapters.jax:JaxSubject",
        "jax": "adapters.jax:JaxSubject",
        "sklearn": "adapters.sklearn:SklearnSubject",
        "torch": "adapters.torch:TorchSubject",
    },
    "trainbus.bindings": {
        "ignite": "adapters.ignite:attach",
        "keras": "adapters.keras:KerasCallback",
        "lightgbm": "adapters.lightgbm:LightGBMCallback",
        "skorch": "adapters.skorch:SkorchCallback",
        "lightning": "adapters.lightning:LightningCallback",
        "optuna": "adapters.optuna:PruningCallback",
        "transformers": "adapters.transformers:TransformersCallback",
        "xgboost": "adapters.xgboost:XGBoostCallback",
    },
    "trainbus.plugins": {"progress": "plugins.progress:Progress"},
    "trainbus.readers": {
        "catboost": "replay.readers.stores.catboost:READER",
        "csv": "replay.readers.tables.csv_log:READER",
        "dvclive": "replay.readers.stores.dvclive:READER",
        "evals_result": "replay.readers.json.evals_result:READER",
        "evaluations": "replay.readers.stores.evaluations:READER",
        "huggingface": "replay.readers.json.huggingface:READER",
        "json_lines": "replay.readers.json.json_lines:READER",
        "keras_history": "replay.readers.json.keras_history:READER",
        "keras_tuner": "replay.readers.json.keras_tuner:READER",
        "mlflow_database": "replay.readers.stores.mlflow_database:READER",
        "mlflow_files": "replay.readers.stores.mlflow_files:READER",
        "monitor_csv": "replay.readers.tables.monitor_csv:READER",
        "pandas_table": "replay.readers.json.pandas_table:READER",
        "progress_csv": "replay.readers.tables.progress_csv:READER",
        "ray_results": "replay.readers.json.ray_results:READER",
        "row_list": "replay.readers.json.row_list:READER",
        "skorch": "replay.readers.json.skorch:READER",
        "tensorboard": "replay.readers.tensorboard.runs:READER",
        "tensorboard_export": "replay.readers.tables.tensorboard_export:READER",
        "text": "replay.readers.text.text_log:READER",
        "trainbus": "replay.readers.json.trainbus_journal:READER",
        "wandb_export": "replay.readers.tables.wandb_export:READER",
        "wandb_offline": "replay.readers.stores.wandb_offline:READER",
    },
}
"""Group to name to value, without the package name; pyproject.toml declares the same entry points for other tools."""


def built_in(group: str) -> list[EntryPoint]:
    """Return the entry points that trainbus itself defines in a group.

    >>> [point.value for point in built_in("trainbus.plugins")]
    ['trainbus.plugins.progress:Progress']
    """
    package = __name__.partition(".")[0]
    return [EntryPoint(name, f"{package}.{value}", group) for name, value in ENTRY_POINTS.get(group, {}).items()]
