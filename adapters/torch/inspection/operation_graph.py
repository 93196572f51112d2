"""The operations of one forward pass of a PyTorch model as the nodes of a graph."""

# PyTorch's tracers and their TensorBoard parser ship no types
# ruff: noqa: SLF001
# pyright: basic, reportPrivateImportUsage=false

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from typing import Any

import torch
from torch import nn

from trainbus.capabilities import Node

from .probe import Arguments, evaluation_without_side_effects


def operation_nodes(model: nn.Module, arguments: Arguments) -> Sequence[Node]:
    """Return a node for each operation, named inside the module that runs it.

    PyTorch's parser for TensorBoard reads the traced model if ``tensorboard`` is installed and the model can be traced;
    otherwise the nodes come from ``torch.export``.

    Raises:
        Exception: Neither can trace the model; any exception of ``torch.export``.
    """
    with evaluation_without_side_effects(model), _silence():
        try:
            return _traced(model, arguments)
        except Exception:  # noqa: BLE001 - PyTorch may raise any exception
            return _exported(model, arguments)


@contextmanager
def _silence() -> Iterator[None]:
    """Silence tracing, which is deprecated, warns about untraceable code, and prints its failures."""
    level = logging.root.manager.disable
    with warnings.catch_warnings(), redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        warnings.simplefilter("ignore")
        logging.disable(logging.ERROR)
        try:
            yield
        finally:
            logging.disable(level)


def _traced(model: nn.Module, arguments: Arguments) -> list[Node]:
    from torch.utils.tensorboard._pytorch_graph import parse  # noqa: PLC0415 - needs tensorboard

    if arguments.kwargs and arguments.args:
        raise TypeError("torch.jit.trace takes either positional arguments or named ones")
    positional, named = arguments.args or None, arguments.kwargs or None
    jit_trace: Any = torch.jit.trace
    traced = jit_trace(model, positional, example_kwarg_inputs=named, strict=False, check_trace=False)
    graph = traced.graph
    torch._C._jit_pass_inline(graph)
    protos: list[Any] = parse(graph, traced)  # type: ignore[no-untyped-call]
    known = {each.name for each in protos}  # the parser leaves out the nodes that hold weights, yet names them
    return [_node(each, known) for each in protos]


def _node(proto: Any, known: set[str]) -> Node:
    attributes = proto.attr["attr"].s.decode(errors="replace") if "attr" in proto.attr else ""
    shapes = proto.attr["_output_shapes"].list.shape if "_output_shapes" in proto.attr else ()
    shape = tuple(dim.size for dim in shapes[0].dim) if shapes else None
    facts = (("attr", attributes),) if attributes.strip("{} ") else ()
    inputs = tuple(name for name in proto.input if name in known)
    return Node(proto.name, proto.op, inputs, facts, shape)


def _exported(model: nn.Module, arguments: Arguments) -> list[Node]:
    program = torch.export.export(model, arguments.args, arguments.kwargs, strict=False)
    signature = program.graph_signature
    held = {**signature.inputs_to_parameters, **signature.inputs_to_buffers}
    root, names, nodes = type(model).__name__, dict[Any, str](), list[Node]()
    for each in program.graph.nodes:
        if each.op == "placeholder":
            scope, kind = held.get(each.name, f"input.{each.name}").rpartition(".")[::2]
            names[each] = "/".join([root, *scope.split("."), kind])
            kind = "parameter" if each.name in held else "input"
        else:
            modules = list(each.meta.get("nn_module_stack", {}).values())
            path = modules[-1][0] if modules else ""
            kind = "output" if each.op == "output" else str(each.target)
            names[each] = "/".join([root, *filter(None, path.split(".")), each.name])
        shape = getattr(each.meta.get("val"), "shape", None)
        sizes = None if shape is None else tuple(size if isinstance(size, int) else None for size in shape)
        nodes.append(Node(names[each], kind, tuple(names[source] for source in each.all_input_nodes), (), sizes))
    return nodes
