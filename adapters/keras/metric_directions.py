"""The direction in which a metric improves, from the metric objects of a Keras model."""

# Keras declares no types and has no public way to see what compile() was given
# pyright: basic

from __future__ import annotations

from typing import Any, Literal

from trainbus.metrics.names import resolve


def declared_direction(model: Any, metric: str) -> Literal["min", "max"] | None:
    """Return the direction of the metric object that logs under this name; losses are to be minimized."""
    known: dict[str, str | None] = {"loss": "down"}
    losses = getattr(model, "_compile_loss", None)
    known |= {each.name: "down" for each in getattr(losses, "metrics", ())}
    compiled: Any = getattr(model, "_compile_metrics", None)
    for each in model.metrics:
        if each is compiled:
            # its results are in the order of its metrics, under the names that are logged (a_accuracy)
            pairs = zip(each.result() if each.built else (), each.metrics, strict=False)
            known |= {name: getattr(inner, "_direction", None) for name, inner in pairs}
        else:
            known.setdefault(each.name, getattr(each, "_direction", None))
    known |= {f"val_{name}": direction for name, direction in known.items()}
    name = resolve(metric, known)
    direction = None if name is None else known[name]
    return {"up": "max", "down": "min"}.get(direction)  # type: ignore[arg-type, return-value]
