"""Take the screenshots of docs/tensorboard.md: ``python -m tests.plugins.tensorboard.end_to_end.screenshots``."""

from __future__ import annotations

import tempfile
import time
from contextlib import chdir
from pathlib import Path
from typing import Any

from trainbus.cli.demo import demo

from .browser import browser
from .test_server import server

DOCS = Path(__file__).parents[4] / "docs"
PICTURES: dict[str, tuple[str, str, str, dict[str, float]]] = {
    "scalars": (
        "sklearn",
        "scalars&tagFilter=epoch_loss|rate_cut&_smoothingWeight=0",
        "vz-line-chart2",
        {"x": 330, "y": 180, "width": 730, "height": 285},
    ),
    "histograms": (
        "torch",
        "histograms&tagFilter=^2/(activation|weight/histogram)",
        "path",
        {"x": 330, "y": 180, "width": 690, "height": 220},
    ),
    "graph": ("torch", "graphs", "g.node", {}),
    "decisions": (
        "sklearn",
        "text&tagFilter=decisions",
        "td",
        {"x": 330, "y": 230, "width": 930, "height": 330},
    ),
}
"""Maps the name of an image to the demo's framework, the page, the condition to wait for, and the area."""


def main() -> None:
    """Train the demo on each framework, open each page, and take a screenshot."""
    with tempfile.TemporaryDirectory() as folder, chdir(folder):
        for framework in {each[0] for each in PICTURES.values()}:
            demo(framework, Path(framework), epochs=20)  # type: ignore[arg-type]
        for name, (framework, page, sign, part) in PICTURES.items():
            with server(f"{framework}/logs") as ask, browser() as shown:
                shown.open(f"{ask.address}?darkMode=false#{page}")
                shown.until(f"deep('{sign}').length")
                time.sleep(3)  # until animations have ended
                shown.screenshot(DOCS / f"tensorboard-{name}.png", **(part or expanded(shown)))


def expanded(shown: Any) -> dict[str, float]:
    """Open the box of the model; return the position of the graph."""
    box = "deep('g.node').find(each => each.dataset.name === 'Sequential')"
    click = "new MouseEvent('dblclick', {bubbles: true, composed: true})"
    shown.run(f"{box}.querySelector('rect').dispatchEvent({click})")
    time.sleep(3)
    shown.run("deep('tf-graph-info').forEach(each => each.remove())")
    corners = "(box => [box.left, box.top, box.right, box.bottom])(each.getBoundingClientRect())"
    boxes = [box for box in shown.run(f"deep('g.node rect').map(each => {corners})") if box[2] > box[0]]
    left, top = (min(box[side] for box in boxes) for side in (0, 1))
    right, bottom = (max(box[side] for box in boxes) for side in (2, 3))
    return {"x": left - 15, "y": top - 15, "width": right - left + 30, "height": bottom - top + 30}


if __name__ == "__main__":
    main()
