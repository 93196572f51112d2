"""The contract of every installed callback, built-in or from other packages."""

from typing import Any

import pytest

from trainbus import Callback, Run, installed
from trainbus.settings.plugin_list import ChoosesDirectory
from trainbus.testing import LineSubject, check_callback

HISTORY = [{"val_loss": value, "loss": value} for value in (3.0, 2.0, 2.0, float("nan"), 1.0, 1.0, 1.0, 1.0, 1.0, 1.0)]
NEEDED = {"filepath": "saved-{epoch}", "schedule": "math:sqrt", "target": 1.5, "limit": "1 hour"}
ALWAYS: dict[str, dict[str, Any]] = {"TimeLimit": {"limit": "1 hour"}}
VARIANTS: dict[str, list[dict[str, Any]]] = {
    "EarlyStopping": [
        {"patience": 2, "restore_best_weights": True},
        {"baseline": 1.0, "start_from_epoch": 2},
        {"monitor": ["val_loss", "loss"], "mode": ["min", "auto"], "stop_when": "all", "patience": 1, "min_epochs": 3},
        {"tie_breaker": "loss", "ties": "newer", "check_finite": True, "stopping_threshold": 0.5, "patience": 3},
        {"min_delta": 0.1, "min_delta_mode": "rel", "cumulative_delta": False, "every": "2 epochs"},
        {"reset_on_lr_cut": True, "divergence_threshold": 9.0, "smoothing": "median 3", "patience": 2},
    ],
    "ModelCheckpoint": [
        {"save_best_only": True},
        {"save_weights_only": True},
        {"save_freq": 3},
        {"keep": 2, "keep_last": 1, "save_last": True, "save_on": ["end", "exception"], "save_freq": "2 epochs"},
    ],
    "ReduceLROnPlateau": [
        {"patience": 1, "cooldown": 2, "min_lr": 0.01},
        {"patience": 1, "min_lr": {"learning_rate": 0.01}, "groups": ["learning_rate"], "eps": 1e-8},
        {"patience": 1, "rule": "torch", "cooldown": 1, "every": "2 epochs"},
        {"patience": 1, "tie_breaker": "loss", "min_delta": 0.01, "min_delta_mode": "rel", "cumulative_delta": False},
    ],
    "TerminateOnNaN": [{"every": "epoch"}, {"monitor": "loss", "save": "nan/dump"}],
    "TimeLimit": [{"over_resumes": True}],
    "Watchdog": [{"end": True}],
    "TensorBoard": [{"histogram_freq": 2}, {"update_freq": "batch", "write_graph": False, "write_images": False}],
}
CASES = [
    pytest.param(name, options, id=f"{name}-{number}")
    for name in installed("callbacks")
    for number, options in enumerate([{}, *VARIANTS.get(name, [])])
]


@pytest.mark.parametrize(("name", "options"), CASES)
def test_every_installed_callback_keeps_the_contract(name: str, options: dict[str, Any]) -> None:
    """It is a value, survives JSON, has a schema, and decides the same in every run."""
    if name == "DeviceStats":  # the extra "monitor"
        pytest.importorskip("psutil")
        pytest.importorskip("pynvml")
    kind: type[Callback] = installed("callbacks")[name].load()
    needed = {field: NEEDED[field] for field, info in kind.model_fields.items() if info.is_required()}

    check_callback(kind(**ALWAYS.get(name, {}), **needed, **options), HISTORY)


@pytest.mark.parametrize(
    ("name", "option"),
    [(name, each) for name in installed("callbacks") for each in ("filepath", "log_dir", "path", "save")],
)
def test_every_path_has_the_id_of_the_run(name: str, option: str) -> None:
    """In the callback of the run, and in all paths that it owns; the callback that is listed keeps the field."""
    kind: type[Callback] = installed("callbacks")[name].load()
    if option not in kind.model_fields:
        return
    listed = kind(**{option: "dir-{run}/x"})
    assert isinstance(listed, ChoosesDirectory)
    made = Run(LineSubject(), [listed], run_id="one").callbacks[name]

    assert (getattr(listed, option), getattr(made, option)) == ("dir-{run}/x", "dir-one/x")
    owned = [*made.exclusive_paths(), *made.locked_directories(), *made.directories()]
    assert owned
    assert all("dir-one" in each for each in owned)
