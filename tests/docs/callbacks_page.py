"""The page of every option; ``python -m tests.docs.callbacks_page`` writes it from the callbacks' own docstrings."""

from __future__ import annotations

import re
from pathlib import Path

from trainbus import Callback, installed

PAGE = Path(__file__).parents[2] / "docs" / "callbacks.md"
ORDER = (
    "ModelCheckpoint",
    "EarlyStopping",
    "ReduceLROnPlateau",
    "LearningRateScheduler",
    "TensorBoard",
    "Journal",
    "TerminateOnNaN",
    "TimeLimit",
    "Watchdog",
    "DeviceStats",
)
HEAD = """# Callbacks: every option

The options of each callback, with their defaults. [Which rule do I have?](which-rule.md) translates those of other
libraries; [checkpoints](checkpoints.md) and [guards](guards.md) tell more. Each option is a keyword argument, and a
line in a [settings file](settings-files.md).
"""


def text() -> str:
    """Return the page."""
    points = installed("callbacks")
    parts = [HEAD]
    for name in ORDER:
        kind: type[Callback] = points[name].load()
        summary = _plain((kind.__doc__ or "").strip().split("\n\n")[0])
        rows = [
            f"| `{option}` | {'required' if field.is_required() else f'`{field.default!r}`'} | "
            f"{_plain(field.description or '')} |"
            for option, field in kind.model_fields.items()
        ]
        parts.append(
            "\n".join([f"## {name}\n", f"{summary}\n", "| option | default | meaning |", "|---|---|---|", *rows])
        )
    return "\n".join(f"{part}\n" if number else part for number, part in enumerate(parts))


def _plain(words: str) -> str:
    return re.sub(r"\s+", " ", words).strip().replace("``", "`").replace("|", "\\|")


if __name__ == "__main__":
    PAGE.write_text(text(), encoding="utf-8")
