"""The direction in which a metric improves, derived from its name.

A name is read from the right: the last phrase is its head, and the phrases before it only qualify the head. If no known
phrase decides, the direction is unknown, since a wrong direction would silently keep the worst model.
"""

import re
from difflib import get_close_matches
from functools import lru_cache
from typing import Final, Literal, NamedTuple

from ...errors import UnknownDirection
from ..names import words
from . import vocabulary

_Kind = Literal["name", "noun", "undirected", "measure", "circumstance", "negation", "unknown"]
_RISING_ALONE: Final = ("score", "top")
"""Measures for which higher is better if the name does not show what they measure."""
_LONGEST_PHRASE: Final = 6
_SHORTEST_PART: Final = 3
_LONGEST_RUN: Final = 60
_LONGEST_NAME: Final = 500
_NEAR: Final = 0.8  # minimum similarity of an unknown word to the known word that replaces it
_LONG_WORD: Final = 7  # two wrong letters make a word of this length less similar than _NEAR
_NEAR_LONG: Final = 0.7

_NEGATED: Final = re.compile(r"^\s*1\s*-\s*(?=[A-Za-z])|(?:^|(?<=[/_ ]))-(?=[A-Za-z])")
_SUFFIX: Final = re.compile(r"(?:[_/ ](?:step|epoch|mean|avg|val|valid|train|test|eval|dataloader_idx|[0-9]+))+$")
_PER: Final = re.compile(
    r"(?<=[a-z])/(?=(?:s|sec|second)(?:$|[_ ]|/(?!it|step|batch|token|sample)))"
    r"|(?:(?<=^s)|(?<=[_/ ]s)|(?<=ms)|(?<=sec)|(?<=secs))/(?=(?:it|iter|step|batch|token|sample)(?:$|[_/ ]))",
    re.IGNORECASE,
)
_SEGMENTS: Final = re.compile(r"[/\\|:]+")


class _Term(NamedTuple):
    """A phrase of a name, written as one word, and its entry in the vocabulary."""

    text: str
    kind: _Kind
    direction: Literal["min", "max"] | None = None


FIX = 'write mode="max" or mode="min"'
"""What to write if a name does not determine the direction."""


def direction_of(name: str, fix: str = FIX) -> Literal["min", "max"]:
    """Return "min" if lower values of a metric are better, "max" if higher values are, according to its name.

    Args:
        name: The name as it is logged, with any prefixes and suffixes.
        fix: What to write if it does not determine the direction.

    Raises:
        UnknownDirection: The name does not determine the direction.

    Examples:
        >>> direction_of("val_f1"), direction_of("head_b/val_dice_loss_epoch")
        ('max', 'min')
        >>> direction_of("neg_log_loss"), direction_of("negative_log_likelihood")
        ('max', 'min')
        >>> direction_of("grad_norm")
        Traceback (most recent call last):
        ...
        trainbus.errors.UnknownDirection: the name 'grad_norm' does not show whether the metric improves upwards or \
downwards; write mode="max" or mode="min"
    """
    direction = known_direction(name)
    if direction is None:
        near = near_miss(name)
        if near is not None:
            raise UnknownDirection(f"{name!r} is not a known metric; did you mean {near!r}? if not, {fix}")
        unclear = f"the name {name!r} does not show whether the metric improves upwards or downwards"
        raise UnknownDirection(f"{unclear}; {fix}")
    return direction


@lru_cache(maxsize=4096)
def known_direction(name: str) -> Literal["min", "max"] | None:
    """Do the same as ``direction_of``, but return None if the name does not determine the direction.

    Args:
        name: The name as it is logged.

    >>> known_direction("val_f1"), known_direction("grad_norm")
    ('max', None)
    """
    if len(name) > _LONGEST_NAME:
        return None
    bare = _SUFFIX.sub("", name)
    # `rouge_l_1` does not measure "l1", but in `rank_1` the number is part of the metric; `time_step` is not a time
    if bare != name and len(words(bare)) > 1 and (direction := known_direction(bare)) is not None:
        return direction
    written = _PER.sub(" per ", _NEGATED.sub("neg ", name)).replace("@", " at ")
    terms = [term for segment in _SEGMENTS.split(written) for term in _terms(words(segment))]
    if any(term.text == "loss" for term in terms):
        terms = _without_loss_operands(terms)
    return None if any(term.text in vocabulary.SPREADS for term in terms) else _head(terms)


@lru_cache(maxsize=1024)
def near_miss(name: str) -> str | None:
    """Return the name with an unknown word replaced by a similar known one, if the new name has a direction.

    >>> near_miss("val_presicion"), near_miss("belu@4"), near_miss("banana")
    ('val_precision', 'bleu@4', None)
    """
    if len(name) > _LONGEST_NAME:
        return None
    for term in _phrases(words(name)):
        for word in _similar_words(term.text) if term.kind == "unknown" else ():
            corrected = re.sub(re.escape(term.text), word, name, count=1, flags=re.IGNORECASE)
            if corrected != name and known_direction(corrected) is not None:
                return corrected
    return None


def _similar_words(text: str) -> list[str]:
    """Return known words that are probably meant: the most similar ones first, then those of the same letters."""
    near = get_close_matches(text, _TERMS, cutoff=_NEAR_LONG if len(text) >= _LONG_WORD else _NEAR)
    swapped = (word for word in _TERMS if len(word) >= _SHORTEST_PART and sorted(word) == sorted(text))
    return [*(word for word in near if len(word) > _SHORTEST_PART), *swapped]


def _terms(spoken: tuple[str, ...]) -> list[_Term]:
    """Return the terms of one segment of a path; ``precision at recall`` and ``time per step`` begin with the head."""
    for place, word in enumerate(spoken):
        before, after = spoken[:place], spoken[place + 1 :]
        if word == "per" and before and after and not _is_phoneme_error_rate(before, after):
            return _rate(before, after)
        if word in vocabulary.PREPOSITIONS and _head(_phrases(before)) is not None:
            return _phrases(before)
        if word in vocabulary.PREPOSITIONS and place and _known("".join(spoken[place - 1 : place + 1])) is not None:
            return _phrases(spoken[: place + 1])
    return _phrases(spoken)


def _is_phoneme_error_rate(before: tuple[str, ...], after: tuple[str, ...]) -> bool:
    """Return whether "per" is a phoneme error rate: in ``val_per_epoch``, not in ``samples_per_sec``."""
    timed = before[-1] in vocabulary.TIME_UNITS or after[0] in vocabulary.TIME_UNITS
    return not timed and all(term.kind == "circumstance" for term in _phrases(before))


def _rate(before: tuple[str, ...], after: tuple[str, ...]) -> list[_Term]:
    """Return the terms of ``samples per second`` or ``ms per step``; in ``errors per page`` the noun decides."""
    counted, among = _phrases(before), _phrases(after)
    negations = [term for term in counted if term.kind == "negation"]
    if before[-1] in vocabulary.TIME_UNITS:
        return [*negations, _Term("time", "name", "min")]
    if _head(counted) is not None:
        return counted
    if after[0] in vocabulary.TIME_UNITS or ("per" in after and after[-1] in vocabulary.TIME_UNITS):
        return [*negations, _Term("speed", "name", "max")]
    return among if _head(among) is not None else counted


def _phrases(spoken: tuple[str, ...]) -> list[_Term]:
    """Group words, from the right, into the longest phrases in the vocabulary, and return their terms."""
    terms: list[_Term] = []
    end = len(spoken)
    while end:
        for start in range(max(0, end - _LONGEST_PHRASE), end):
            text = "".join(spoken[start:end])
            term = None if text.isdigit() and end - start > 1 else _known(text)
            if term is not None:
                terms.append(term)
                end = start
                break
        else:
            end -= 1
            parts = _split(spoken[end])
            terms.extend(reversed(_phrases(parts)) if len(parts) > 1 else [_Term(spoken[end], "unknown")])
    return terms[::-1]


def _known(text: str) -> _Term | None:
    """Return the vocabulary's term for a phrase or its singular; digits are only an amount or an index."""
    if text.isdigit():
        return _Term(text, "circumstance")
    forms = [text]
    if len(text) > _SHORTEST_PART and text.endswith("s") and not text.endswith("ss"):
        forms += [text[:-1], text[:-2], text[:-3] + "y"]
    return next((_TERMS[form] for form in forms if form in _TERMS), None)


@lru_cache(maxsize=1024)
def _split(word: str) -> tuple[str, ...]:
    """Split a compound word into the fewest known words possible; otherwise, split off a known ending."""
    best: list[tuple[str, ...] | None] = [()]
    for end in range(1, min(len(word), _LONGEST_RUN) + 1):
        ways = [
            (*before, word[start:end])
            for start in range(max(0, end - _SHORTEST_PART + 1))
            if (before := best[start]) is not None and word[start:end] in _BUILDING_BLOCKS
        ]
        best.append(min(ways, key=len, default=None))
    if len(word) <= _LONGEST_RUN and (fewest := best[-1]) is not None:
        return fewest
    ending = next((ending for ending in vocabulary.ENDINGS if word.endswith(ending) and word != ending), "")
    return (word.removesuffix(ending), ending) if ending else (word,)


def _without_loss_operands(terms: list[_Term]) -> list[_Term]:
    """Make "loss" the head (for ``loss_iou``, lower is better); return nothing for an adversarial loss."""
    if any(term.text in vocabulary.OPPONENTS for term in terms):
        return []
    place = max(place for place, term in enumerate(terms) if term.text == "loss")
    return [*terms[: place + 1], *(term for term in terms[place + 1 :] if term.kind not in ("name", "noun"))]


def _head(terms: list[_Term]) -> Literal["min", "max"] | None:
    """Return the direction of the rightmost term that has one; None if that term is a noun before an unknown word."""
    unknown = scored = False
    for place in range(len(terms) - 1, -1, -1):
        term = terms[place]
        if term.kind == "undirected" or (term.kind == "noun" and unknown):
            return None
        if term.direction is not None:
            return _flipped(term, terms[:place])
        unknown = unknown or term.kind == "unknown"
        scored = scored or (term.text in _RISING_ALONE and not unknown)
    return _flipped(_Term("score", "name", "max"), terms) if scored else None


def _flipped(head: _Term, before: list[_Term]) -> Literal["min", "max"] | None:
    """Flip the direction for each negation; in ``negative_sampling_loss``, "negative" does not negate the loss."""
    negations = [place for place, term in enumerate(before) if term.kind == "negation"]
    if head.text == "loss" and negations and any(term.kind == "unknown" for term in before[negations[-1] :]):
        return None
    return head.direction if len(negations) % 2 == 0 else "max" if head.direction == "min" else "min"


_GROUPS: Final[tuple[tuple[frozenset[str], _Kind, Literal["min", "max"] | None], ...]] = (
    (vocabulary.RISING_NAMES, "name", "max"),
    (vocabulary.FALLING_NAMES, "name", "min"),
    (vocabulary.RISING_NOUNS, "noun", "max"),
    (vocabulary.FALLING_NOUNS, "noun", "min"),
    (vocabulary.UNDIRECTED | vocabulary.SPREADS, "undirected", None),
    (vocabulary.MEASURES, "measure", None),
    (vocabulary.CIRCUMSTANCES, "circumstance", None),
    (vocabulary.NEGATIONS, "negation", None),
)
_TERMS: Final = {text: _Term(text, kind, direction) for texts, kind, direction in _GROUPS for text in texts}
_BUILDING_BLOCKS: Final = frozenset(
    text for text in (*_TERMS, *vocabulary.BUILDING_WORDS) if len(text) >= _SHORTEST_PART
)
