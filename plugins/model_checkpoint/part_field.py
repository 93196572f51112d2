"""The field ``{part}``, a file of each model, which is refused with what to write instead."""

from __future__ import annotations

from trainbus.checkpoints.names.filename_template import template_fields


def check_no_part_field(template: str) -> str:
    """Return the template if it does not ask for a file of each of several models.

    Raises:
        ValueError: It has the field ``{part}``.

    >>> check_no_part_field("run/m-{epoch}")
    'run/m-{epoch}'
    """
    if "part" in template_fields(template):
        raise ValueError(
            f"{template!r}: leave {{part}} out: one file holds all models, so they are saved and deleted together. "
            "torch.load(path)['model'] has the weights of each under its name. For a file of each model, also list a "
            "ModelCheckpoint with content=lambda run: net.state_dict() for it"
        )
    return template
