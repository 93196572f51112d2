"""The contents of a pickle or a copy of a run: its data, without objects of the process that trains."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from typing import Any, TypeVar

from .errors import TrainbusError
from .lifecycle.lifecycle import Lifecycle
from .lifecycle.parts import assemble
from .metrics.running_means import RunningMeans

E = TypeVar("E", bound=BaseException)


def record_of(life: Lifecycle) -> dict[str, Any]:
    """Return the data of a run as it is now: history, decisions, files, monitors and failures.

    The subject and the plugins are left out, and so are metrics that are still on a device: they become numbers.
    """
    state = {name: value for name, value in vars(life.state).items() if name not in ("subject", "means")}
    state["epoch_metrics"] = [(epoch, dict(metrics)) for epoch, metrics in life.state.epoch_metrics]
    for name in ("metrics", "learning_rates"):
        state[name] = dict(state[name])
    state["error"] = None if life.state.error is None else _portable(life.state.error)
    return {
        "state": state,
        "callbacks": dict(life.callbacks),
        "monitors": life.monitors.directions(),
        "failures": [each._replace(error=_portable(each.error)) for each in life.failures.all],
    }


def life_of(record: Mapping[str, Any]) -> Lifecycle:
    """Return the lifecycle of a run that has ended, with the data of a record."""
    parts = assemble(
        None, (), verbose=0, resume=None, resume_strict=False, resume_learning_rates="checkpoint", signals=()
    )
    life = Lifecycle(parts)
    vars(life.state).update(record["state"], means=RunningMeans(), phase="ended", epoch_open=False)
    life.callbacks.update(record["callbacks"])
    life.failures.all.extend(record["failures"])
    for metric, direction in record["monitors"].items():
        life.monitors.get(metric, direction)
    return life


def _portable(error: E) -> E | TrainbusError:
    """Return an error that can be pickled: this one, or another with the same class and text."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:  # noqa: BLE001 - whatever its class raises
        return TrainbusError(f"{type(error).__name__}: {error}")
    return error
