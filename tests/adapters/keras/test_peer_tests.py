"""The tests of Keras's own callbacks pass with a ``KerasCallback`` in every ``fit``."""

import os
import subprocess
import sys
from pathlib import Path

import keras
import pytest

FOLDER = Path(keras.__file__).parent / "src" / "callbacks"
NAMES = [
    "backup_and_restore",
    "callback",
    "csv_logger",
    "early_stopping",
    "lambda_callback",
    "learning_rate_scheduler",
    "model_checkpoint",
    "monitor_callback",
    "reduce_lr_on_plateau",
    "terminate_on_nan",
]


@pytest.mark.exhaustive
@pytest.mark.skipif(keras.__version__ != "3.15.1", reason="other versions have other tests")
@pytest.mark.parametrize("name", NAMES)
def test_keras_tests_of_a_callback_pass_with_a_bus(name: str, tmp_path: Path) -> None:
    options = ["-q", "-n0", "-W", "ignore", "-p", "no:cacheprovider", "-p", "tests.adapters.keras.adds_bus"]
    root = str(Path(__file__).parents[3])
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, f"--rootdir={tmp_path}", str(FOLDER / f"{name}_test.py")],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([root, os.environ.get("PYTHONPATH", "")])},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stdout[-2000:]
