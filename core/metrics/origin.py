"""What a run continues that trainbus has not recorded: ``Run(start=...)``."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from ..limits import EPOCHS, STEPS


class Origin(BaseModel):
    """How far a training had come before its run began."""

    model_config = ConfigDict(frozen=True)

    epoch: int = Field(default=0, ge=0, le=EPOCHS)
    """Epochs that had ended; also the first epoch of the run, counted from 0."""
    step: int = Field(default=0, ge=0, le=STEPS)
    """Weight updates until then."""
    best: dict[str, Annotated[float, Field(allow_inf_nan=False)]] = Field(default_factory=dict[str, float])
    """The best value of each metric until then."""

    @property
    def last_epoch(self) -> int:
        """The last epoch that had ended, counted from 0; 0 if there is none."""
        return max(self.epoch - 1, 0)
