"""The modules that a PyTorch model consists of, as the nodes of a graph."""

from __future__ import annotations

from torch import nn

from trainbus.capabilities import Node

from ..weights import UNINITIALIZED, unwrapped


def module_nodes(model: nn.Module) -> list[Node]:
    """Return a node for each module without children, in the order of registration; a Sequential's form a chain."""
    return _walk(model, "", ())[0]


def _walk(module: nn.Module, path: str, inputs: tuple[str, ...]) -> tuple[list[Node], tuple[str, ...]]:
    """Return the nodes of a module and the names of those whose output is the module's, if that is known."""
    children = list(module.named_children())
    kind = type(module).__name__
    if not children:
        name = path or kind
        size = sum(each.numel() for each in module.parameters() if not isinstance(each, UNINITIALIZED))
        facts = (("parameters", str(size)), ("settings", module.extra_repr()))
        return [Node(name, kind, inputs, tuple(fact for fact in facts if fact[1] not in ("", "0")))], (name,)
    nodes: list[Node] = []
    chained = isinstance(module, nn.Sequential)
    for name, child in children:
        more, outputs = _walk(unwrapped(child), f"{path}/{name}".lstrip("/"), inputs if chained else ())
        nodes += more
        inputs = outputs if chained else ()
    return nodes, inputs
