"""Undo the changes of a failed load, so that a restore is complete or changes nothing."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from torch import Tensor, nn

from .components import TrainingComponents
from .state_dict import to_cpu_state
from .weights import UNINITIALIZED


@contextmanager
def undone_on_error(model: nn.Module, components: TrainingComponents, kinds: Sequence[str]) -> Generator[None]:
    """Return a context that restores the weights, and the components of some kinds, if the block raises."""
    state = model.state_dict()
    weights = OrderedDict((name, value) for name, value in state.items() if _has_values(value))
    vars(weights).update(vars(state))  # the versions of the modules
    weights = to_cpu_state(weights, "model", copied=True)
    trained = [(each, each.requires_grad) for each in model.parameters()]
    groups = [(each, [dict(group) for group in each.param_groups]) for each in components.optimizers.values()]
    states = {kind: to_cpu_state(components.state_dicts(kind), kind, copied=True) for kind in kinds}
    try:
        yield
    except BaseException:
        for parameter, requires_grad in trained:
            parameter.requires_grad = requires_grad
        for optimizer, before in groups:
            optimizer.param_groups[:] = before
        with suppress(Exception):  # the first error says what is wrong
            model.load_state_dict(weights, strict=False)
        for kind, named in states.items():
            for name, each in named.items():
                with suppress(Exception):
                    components.load_one(kind, name, each)
        raise


def _has_values(value: Any) -> bool:
    return not isinstance(value, Tensor) or not (value.is_meta or isinstance(value, UNINITIALIZED))
