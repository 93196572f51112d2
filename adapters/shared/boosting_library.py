"""What the bindings for boosting libraries need to know of a library."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from trainbus import SettingsError
from trainbus.metrics.missing_metric import MetricAdvice

from .call_stack import frames


class BoostingLibrary(NamedTuple):
    """A library that trains a model round by round, in a function that passes its arguments to no callback."""

    train: Callable[..., Any]
    """The function that trains."""
    binding: str
    """The name of the callback that a user writes."""
    listed: str
    """How the user lists it among the callbacks, in words."""
    model_argument: str
    """The argument of ``train`` that takes the model to continue."""
    advice: MetricAdvice
    """What the user writes to have a metric logged."""

    @property
    def module(self) -> str:
        """The name of the module that the user imports."""
        return self.train.__module__.partition(".")[0]

    @property
    def name(self) -> str:
        """The name of the library."""
        return self.binding.removesuffix("Callback")

    @property
    def where(self) -> str:
        """The call in which a run begins."""
        return f"{self.module}.train(..., callbacks=[{self.listed}])"

    def train_call(self) -> Mapping[str, Any]:
        """Return the variables of the training that runs in this thread; none if another function trains."""
        code = inspect.unwrap(self.train).__code__
        nothing: Mapping[str, Any] = {}
        return next((each.f_locals for each in frames() if each.f_code is code), nothing)

    def check_model(self, model: object, kind: type) -> None:
        """Refuse what is not one model, such as the models that are cross-validated together.

        Raises:
            SettingsError: It is no ``kind``.
        """
        if not isinstance(model, kind):
            raise SettingsError(
                f"{self.module}.cv trains a model for each fold, and a run is the training of one model; call "
                f"{self.module}.train for each fold, each time with a new {self.binding}"
            )
