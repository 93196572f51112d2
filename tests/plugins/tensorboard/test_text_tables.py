"""Tests of the texts that TensorBoard shows."""

import numpy as np

from trainbus.plugins import TensorBoard

from ..event_readers import read
from .runs import short


def test_settings_and_environment_are_texts():
    """The options of every callback and the versions of the imported packages are shown."""
    short(TensorBoard("logs", update_freq=7))
    reader = read()["train"]
    settings, environment = (
        reader.Tensors(tag)[0].tensor_proto.string_val[0].decode() for tag in ("settings", "environment")
    )
    assert "| TensorBoard | update\\_freq | 7 |" in settings
    assert f"| numpy | {np.__version__} |" in environment
    assert reader.SummaryMetadata("settings").plugin_data.plugin_name == "text"
