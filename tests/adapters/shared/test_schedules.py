"""Callbacks that change the learning rate beside schedules of a framework that set it anew."""

from __future__ import annotations

from typing import Any

import pytest

from trainbus import MissingCapability
from trainbus.adapters.shared.schedules import check_schedule
from trainbus.plugins import EarlyStopping, LearningRateScheduler, ModelCheckpoint, ReduceLROnPlateau


@pytest.mark.parametrize("rule", [ReduceLROnPlateau(), LearningRateScheduler(lambda epoch: 0.1)])
def test_what_changes_the_rate_is_refused_beside_a_schedule(rule: Any) -> None:
    check_schedule([EarlyStopping(), rule], None)
    with pytest.raises(MissingCapability, match=f"{type(rule).__name__} needs .* but Cosine sets .*one of them out"):
        check_schedule([EarlyStopping(), rule], "Cosine")


def test_all_else_may_be_beside_it() -> None:
    check_schedule([EarlyStopping(), ModelCheckpoint("m"), object()], "Cosine")
