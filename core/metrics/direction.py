"""Which way a metric improves, judged by its name.

A name is read from its right end: what stands last is the head, what stands before it only qualifies. Where no
word that is known decides, the answer is refused: a wrong direction keeps the worst model and says nothing.
"""

import re
from functools import lru_cache
from typing import Final, Literal, NamedTuple

from ..errors import UnknownDirection
from . import vocabulary
from .names import words

_Kind = Literal["name", "noun", "undirected", "measure", "circumstance", "negation", "unknown"]
_RISING_ALONE: Final = ("score", "top")
"""Measures that rise where the name tells nothing of what they measure."""
_LONGEST_PHRASE: Final = 6
_SHORTEST_PART: Final = 3
_LONGEST_RUN: Final = 60
_LONGEST_NAME: Final = 500

_NEGATED: Final = re.compile(r"^\s*1\s*-\s*(?=[A-Za-z])|(?:^|(?<=[/_ ]))-(?=[A-Za-z])")
_SUFFIX: Final = re.compile(r"(?:[_/ ](?:step|epoch|mean|avg|val|valid|train|test|eval|dataloader_idx|[0-9]+))+$")
_PER: Final = re.compile(
    r"(?<=[a-z])/(?=(?:s|sec|second)(?:$|[_ ]|/(?!it|step|batch|token|sample)))"
    r"|(?:(?<=^s)|(?<=[_/ ]s)|(?<=ms)|(?<=sec)|(?<=secs))/(?=(?:it|iter|step|batch|token|sample)(?:$|[_/ ]))",
    re.IGNORECASE,
)
_SEGMENTS: Final = re.compile(r"[/\\|:]+")


class _Term(NamedTuple):
    """A phrase of a name, run together, and what the vocabulary knows of it."""

    text: str
    kind: _Kind
    direction: Literal["min", "max"] | None = None


def direction_of(name: str) -> Literal["min", "max"]:
    """Tell from its name whether a metric improves when it falls ("min") or when it rises ("max").

    Args:
        name: The name as it is logged, with whatever prefixes and suffixes.

    Raises:
        UnknownDirection: The name does not tell.

    Examples:
        >>> direction_of("val_f1"), direction_of("head_b/val_dice_loss_epoch")
        ('max', 'min')
        >>> direction_of("neg_log_loss"), direction_of("negative_log_likelihood")
        ('max', 'min')
        >>> direction_of("grad_norm")
        Traceback (most recent call last):
        ...
        trainbus.errors.UnknownDirection: 'grad_norm' does not tell whether it improves when it rises or falls; \
write mode="max" or mode="min"
    """
    direction = _judged(name)
    if direction is None:
        doubt = f"{name!r} does not tell whether it improves when it rises or falls"
        message = f'{doubt}; write mode="max" or mode="min"'
        raise UnknownDirection(message)
    return direction


@lru_cache(maxsize=4096)
def _judged(name: str) -> Literal["min", "max"] | None:
    if len(name) > _LONGEST_NAME:
        return None
    bare = _SUFFIX.sub("", name)
    # `rouge_l_1` is not about l1, but the number does belong to `rank_1`, and `time_step` is no time.
    if bare != name and len(words(bare)) > 1 and (direction := _judged(bare)) is not None:
        return direction
    written = _PER.sub(" per ", _NEGATED.sub("neg ", name)).replace("@", " at ")
    terms = [term for segment in _SEGMENTS.split(written) for term in _terms(words(segment))]
    if any(term.text == "loss" for term in terms):
        terms = _without_what_a_loss_measures(terms)
    return None if any(term.text in vocabulary.SPREADS for term in terms) else _head(terms)


def _terms(spoken: tuple[str, ...]) -> list[_Term]:
    """Read one segment of a path; in `precision at recall` and `time per step` the head stands before."""
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
    """Tell `val_per_epoch` from `loss_per_epoch` and `samples_per_sec`."""
    timed = before[-1] in vocabulary.TIME_UNITS or after[0] in vocabulary.TIME_UNITS
    return not timed and all(term.kind == "circumstance" for term in _phrases(before))


def _rate(before: tuple[str, ...], after: tuple[str, ...]) -> list[_Term]:
    """Read `samples per second` and `ms per step`; in `errors per page`, what is counted decides."""
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
    """Group words into the longest phrases that the vocabulary has, from the right."""
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
            parts = _taken_apart(spoken[end])
            terms.extend(reversed(_phrases(parts)) if len(parts) > 1 else [_Term(spoken[end], "unknown")])
    return terms[::-1]


def _known(text: str) -> _Term | None:
    """Look a phrase up, also in the singular; digits only tell how much or which one."""
    if text.isdigit():
        return _Term(text, "circumstance")
    forms = [text]
    if len(text) > _SHORTEST_PART and text.endswith("s") and not text.endswith("ss"):
        forms += [text[:-1], text[:-2], text[:-3] + "y"]
    return next((_TERMS[form] for form in forms if form in _TERMS), None)


@lru_cache(maxsize=1024)
def _taken_apart(word: str) -> tuple[str, ...]:
    """Split a run-together word into known ones, as few as will do, else split off an ending that tells."""
    best: list[tuple[str, ...] | None] = [()]
    for end in range(1, min(len(word), _LONGEST_RUN) + 1):
        ways = [
            (*before, word[start:end])
            for start in range(max(0, end - _SHORTEST_PART + 1))
            if (before := best[start]) is not None and word[start:end] in _BUILDING_BLOCKS
        ]
        best.append(min(ways, key=len, default=None))
    whole = best[-1] if len(word) <= _LONGEST_RUN else None
    if whole is not None:
        return whole
    ending = next((ending for ending in vocabulary.ENDINGS if word.endswith(ending) and word != ending), "")
    return (word.removesuffix(ending), ending) if ending else (word,)


def _without_what_a_loss_measures(terms: list[_Term]) -> list[_Term]:
    """Make a loss the head of its name: `loss_iou` falls. Losses of opponents have no direction."""
    if any(term.text in vocabulary.OPPONENTS for term in terms):
        return []
    place = max(place for place, term in enumerate(terms) if term.text == "loss")
    return [*terms[: place + 1], *(term for term in terms[place + 1 :] if term.kind not in ("name", "noun"))]


def _head(terms: list[_Term]) -> Literal["min", "max"] | None:
    """Find the rightmost term that decides; only a proper name may have unknown words behind it."""
    strange = scored = False
    for place in range(len(terms) - 1, -1, -1):
        term = terms[place]
        if term.kind == "undirected" or (term.kind == "noun" and strange):
            return None
        if term.direction is not None:
            return _flipped(term, terms[:place])
        strange = strange or term.kind == "unknown"
        scored = scored or (term.text in _RISING_ALONE and not strange)
    return _flipped(_Term("score", "name", "max"), terms) if scored else None


def _flipped(head: _Term, before: list[_Term]) -> Literal["min", "max"] | None:
    """Turn the direction for each `neg`; what is negative in `negative_sampling_loss` is not the loss."""
    negations = [place for place, term in enumerate(before) if term.kind == "negation"]
    if head.text == "loss" and negations and any(term.kind == "unknown" for term in before[negations[-1] :]):
        return None
    return head.direction if len(negations) % 2 == 0 else "max" if head.direction == "min" else "min"


def _vocabulary() -> dict[str, _Term]:
    """Gather what is known of each phrase."""
    groups: tuple[tuple[frozenset[str], _Kind, Literal["min", "max"] | None], ...] = (
        (vocabulary.RISING_NAMES, "name", "max"),
        (vocabulary.FALLING_NAMES, "name", "min"),
        (vocabulary.RISING_NOUNS, "noun", "max"),
        (vocabulary.FALLING_NOUNS, "noun", "min"),
        (vocabulary.UNDIRECTED | vocabulary.SPREADS, "undirected", None),
        (vocabulary.MEASURES, "measure", None),
        (vocabulary.CIRCUMSTANCES, "circumstance", None),
        (vocabulary.NEGATIONS, "negation", None),
    )
    return {text: _Term(text, kind, direction) for texts, kind, direction in groups for text in texts}


_TERMS: Final = _vocabulary()
_BUILDING_BLOCKS: Final = frozenset(
    text for text in (*_TERMS, *vocabulary.BUILDING_WORDS) if len(text) >= _SHORTEST_PART
)
