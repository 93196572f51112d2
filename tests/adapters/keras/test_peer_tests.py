"""Keras's own tests of callbacks and of training pass with a ``KerasCallback`` in every ``fit``."""

import os
import subprocess
import sys
from pathlib import Path

import keras
import pytest

SOURCES = Path(keras.__file__).parent / "src"
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
LEFT_OUT = ["jit", "multiprocessing", "multithreading", "tf_dataset", "grain", "preserve_order"]
"""Cases of the tests of training that take minutes, or that need TensorFlow or Grain."""
pytestmark = [
    pytest.mark.exhaustive,
    pytest.mark.skipif(keras.__version__ != "3.15.1", reason="other versions have other tests"),
]


def run_with_bus(file: Path, folder: Path, *options: str) -> tuple[int, str]:
    """Run a file of tests in a process where every ``fit`` has a bus; return the exit status and the output."""
    common = ["-q", "-n0", "-W", "ignore", "-p", "no:cacheprovider", "-p", "tests.adapters.keras.adds_bus"]
    root = str(Path(__file__).parents[3])
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *common, *options, f"--rootdir={folder}", str(file)],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([root, os.environ.get("PYTHONPATH", "")])},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout


@pytest.mark.parametrize("name", NAMES)
def test_keras_tests_of_a_callback_pass_with_a_bus(name: str, tmp_path: Path) -> None:
    status, output = run_with_bus(SOURCES / "callbacks" / f"{name}_test.py", tmp_path)

    assert status == 0, output[-2000:]


@pytest.mark.skipif(keras.backend.backend() != "torch", reason="the tests of one backend suffice")
def test_keras_tests_of_training_pass_with_a_bus(tmp_path: Path) -> None:
    """Its models are layers with a trainer; here they are subclasses of ``keras.Model``, as those of users are."""
    source = (SOURCES / "trainers" / "trainer_test.py").read_text()
    changes = {
        "\nimport jax\n": "\n",
        "(Trainer, layers.Layer)": "(models.Model)",
        "(Trainer, layers.Dense)": "(layers.Dense, models.Model)",
    }
    for before, after in changes.items():
        assert before in source
        source = source.replace(before, after)
    (tmp_path / "trainer_test.py").write_text(source)
    cases = " and ".join(f"not {name}" for name in LEFT_OUT)
    status, output = run_with_bus(tmp_path / "trainer_test.py", tmp_path, "-k", cases)

    assert status == 0, output[-4000:]
