"""The patterns of texts that well-known scripts print."""

from __future__ import annotations

import re
from typing import Final

from .named_numbers import ANY, NamedNumbers
from .pattern import Pattern
from .printed_number import NUMBER

NANO_GPT: Final = (
    Pattern.parse(rf"^step (?P<step>\d+): train loss (?P<train_loss>{NUMBER}), val loss (?P<val_loss>{NUMBER})"),
    Pattern.parse(rf"^iter (?P<step>\d+): loss (?P<loss_batch>{NUMBER})"),
)
"""What nanoGPT prints."""
LLM_C: Final = (
    Pattern.parse(rf"^s:(?P<step>\d+) tel:(?P<val_loss>{NUMBER})\s*$"),
    Pattern.parse(rf"^s:(?P<step>\d+) trl:(?P<train_loss>{NUMBER})(?: lr:(?P<lr>{NUMBER}))?(?: norm:{NUMBER})?\s*$"),
    Pattern.parse(rf"^s:(?P<step>\d+) eval:(?P<val_acc>{NUMBER})\s*$"),
    Pattern.parse(rf"^(?P<step>\d+) val (?P<val_loss>{NUMBER})\s*$"),
    Pattern.parse(rf"^(?P<step>\d+) train (?P<train_loss>{NUMBER})\s*$"),
    Pattern.parse(rf"^(?P<step>\d+) hella (?P<val_acc>{NUMBER})\s*$"),
)
"""The log files of llm.c and build-nanogpt: training loss, validation loss, and HellaSwag's accuracy."""

_PAIRS = NamedNumbers(ANY)


def _labelled(word: str, axis: str) -> Pattern:
    """Return the pattern of lines with an axis and with names of numbers."""
    number = rf"\s{{0,3}}[:=#]?\s{{0,3}}\[?\s{{0,6}}(?P<{axis}>\d[\d,]*)"
    return Pattern(re.compile(rf"(?i:\b{word}){number}(?:\s?/\s?\d+|\s+of\s+\d+)?\b"), _PAIRS)


LABELLED: Final = (
    _labelled(r"(?:epochs?(?:\((?:train|val|test)\))?|ep)", "epoch"),
    _labelled("iter(?:ation)?", "iteration"),
    _labelled("step", "step"),
)
"""Lines such as "Epoch:1/80 ... Val Loss: 3.2": an axis and names with numbers, which may also come in later lines."""
BRACKETS: Final = (Pattern(re.compile(r"^\s*\[(?P<epoch>\d+)/\d+\](?:\s?\[\s*\d+/\d+\])?"), _PAIRS),)
"""Lines such as "[3/25][50/782] Loss_D: 0.5": the epoch, and the batch in it."""
BOOSTING: Final = (
    Pattern(
        re.compile(r"^\[(?P<iteration>\d+)\]\t"),
        NamedNumbers(re.compile(rf"(?<=\t)(?P<name>[^\t:]{{1,80}}):\s?(?P<value>{NUMBER})(?=[\t+\s]|$)")),
    ),
)
"""Lines of XGBoost and LightGBM, such as "[10]	valid_0's auc: 0.9"."""
PRINTED: Final = tuple(
    Pattern(
        re.compile(rf"(?<=[{{ ])'{axis}': '?(?P<{axis}>{NUMBER})(?='?[,}}])"),
        NamedNumbers(re.compile(rf"(?<=[{{ ])'(?P<name>[^']{{1,80}})': '?(?P<value>{NUMBER})(?='?[,}}])")),
    )
    for axis in ("epoch", "step")
)
"""Lines such as "{'loss': 0.5, 'epoch': 0.25}", which Hugging Face's trainer prints."""

KNOWN: Final = (NANO_GPT, LLM_C, PRINTED[:1], PRINTED[1:], BOOSTING, BRACKETS, *((each,) for each in LABELLED))
"""The patterns of one script each, in the order in which they are tried."""
