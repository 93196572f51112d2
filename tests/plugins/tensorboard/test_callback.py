"""Tests of the TensorBoard callback."""

import subprocess
import sys
from pathlib import Path

import pytest

from trainbus import MissingCapability, Run, SettingsError
from trainbus.plugins import EarlyStopping, TensorBoard
from trainbus.testing import check_callback

from .runs import train


def test_histograms_need_weights():
    """histogram_freq is rejected if the subject has no weights."""
    with pytest.raises(MissingCapability, match="TensorBoard needs a subject with named arrays that training changes"):
        Run(None, TensorBoard("logs", histogram_freq=1))


def test_one_directory_serves_one_callback():
    """Two callbacks of one run cannot write to the same directory, however it is spelt."""
    with pytest.raises(SettingsError, match="is listed twice with options of the same effect"):
        Run(None, [TensorBoard("logs"), TensorBoard(Path("./other/../logs").absolute())])
    with pytest.raises(SettingsError, match="two callbacks would write"):
        Run(None, [TensorBoard("logs"), TensorBoard(Path("./other/../logs").absolute(), write_graph=False)])


def test_contract():
    """The callback keeps the contract of all callbacks."""
    check_callback(TensorBoard("logs", histogram_freq=1, update_freq="batch"), [{"loss": 1.0, "val_loss": 2.0}] * 3)
    train([TensorBoard("more"), EarlyStopping(monitor="loss")], epochs=2, batches=1)


def test_importing_is_cheap():
    """The callback can be made without importing NumPy, PyTorch or tensorboardX."""
    code = (
        "import sys; from trainbus.plugins import TensorBoard; TensorBoard('logs').plugin();"
        "assert not {'numpy', 'torch', 'tensorboardX'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
