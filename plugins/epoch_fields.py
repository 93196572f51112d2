"""Fields of paths that count epochs, which a loop by steps has not."""

from __future__ import annotations

from collections.abc import Mapping

from trainbus.checkpoints.names.filename_template import template_fields


def epoch_fields(templates: Mapping[str, str]) -> dict[str, str]:
    """Return each option whose path has an epoch, and what to write in a loop by steps.

    Args:
        templates: Name of each option to its path.

    >>> epoch_fields({"filepath": "m-{epoch0:03d}", "save": "nan-{step}"})
    {"filepath='m-{epoch0:03d}'": 'write {step} in place of {epoch0}'}
    """
    return {
        f"{option}={template!r}": f"write {{step}} in place of {{{field}}}"
        for option, template in templates.items()
        for field in ("epoch", "epoch0")
        if field in template_fields(template)
    }
