"""Names: their words, their canonical form, and the nearest known one."""

import re
import unicodedata
from collections.abc import Container, Iterable
from difflib import SequenceMatcher
from functools import lru_cache
from itertools import chain, count
from typing import Final

from ..errors import SettingsError

# "BERTScore" is BERT Score, "top5" is top 5.
_BOUNDARY: Final = re.compile(
    r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])|(?<=[A-Za-z])(?=[0-9])|(?<=[0-9])(?=[A-Za-z])"
)
_SEPARATORS: Final = re.compile(r"[^A-Za-z0-9]+")

_PREFIX_ALIASES: Final = {
    "valid": "val",
    "validation": "val",
    "eval": "val",
    "evaluation": "val",
    "training": "train",
}
_ALIASES: Final[dict[tuple[str, ...], tuple[str, ...]]] = {
    ("acc",): ("accuracy",),
    ("auroc",): ("auc",),
    ("rocauc",): ("auc",),
    ("roc", "auc"): ("auc",),
    ("auc", "roc"): ("auc",),
    ("err",): ("error",),
    ("filename",): ("filepath",),
    ("logdir",): ("log", "dir"),
    ("lr",): ("learning", "rate"),
    ("perplexity",): ("ppl",),
    ("prec",): ("precision",),
}
# Words that make two names near, but not the same: a hook that other libraries have may differ in its arguments.
_KIN: Final = {"start": "begin", "finish": "end", "finished": "end", "stop": "end", "started": "begin"}
_NEAR: Final = 0.65


def check_name(name: str) -> None:
    """Refuse a name that would spoil a line or a screen that shows it.

    Raises:
        SettingsError: it holds a line break, an escape sequence or anything else that cannot be printed.

    >>> check_name("val/accuracy@5")
    """
    if not name.isprintable():
        raise SettingsError(f"{name!r} is no name of a metric: use what can be printed")


def first_free(name: str, taken: Container[str], separator: str = "-") -> str:
    """The name, or if that is taken the first of "name-2", "name-3" and so on that is not.

    >>> first_free("Adam", {"Adam": 0.1, "Adam-2": 0.2})
    'Adam-3'
    """
    numbered = (f"{name}{separator}{number}" for number in count(2))
    return next(each for each in chain([name], numbered) if each not in taken)


def unique(name: str, taken: set[str]) -> str:
    """The name, numbered as Keras numbers layers if it is taken; it is so from now on.

    >>> taken = set()
    >>> [unique(name, taken) for name in ("dense", "dense", "dense_2")]
    ['dense', 'dense_2', 'dense_2_2']
    """
    found = first_free(name, taken, "_")
    taken.add(found)
    return found


def words(name: str) -> tuple[str, ...]:
    """Split a name at separators, at capitals and between letters and digits; in lower case.

    Examples:
        >>> words("val/BERTScore_top5")
        ('val', 'bert', 'score', 'top', '5')
        >>> words("MeanF1Epoch")
        ('mean', 'f', '1', 'epoch')
    """
    plain = _BOUNDARY.sub(" ", unicodedata.normalize("NFKC", name))
    return tuple(word.lower() for word in _SEPARATORS.split(plain) if word)


def canonical(name: str) -> str:
    """Give the form in which names that mean the same compare equal.

    Examples:
        >>> canonical("valid/Acc"), canonical("val_accuracy")
        ('val_accuracy', 'val_accuracy')
        >>> canonical("lr") == canonical("learning-rate")
        True
    """
    return _canonical(name)


def resolve(name: str, known: Iterable[str]) -> str | None:
    """Find the known name that is this one: itself, else the only one that means the same.

    Examples:
        >>> resolve("val_acc", ["loss", "val_accuracy"])
        'val_accuracy'
        >>> resolve("acc", ["loss", "val_accuracy"]) is None
        True
    """
    choices = dict.fromkeys(known)
    if name in choices:
        return name
    wanted = _canonical(name)
    equal = [choice for choice in choices if _canonical(choice) == wanted]
    return equal[0] if wanted and len(equal) == 1 else None


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Find the known name that was probably meant, or None where nothing is near.

    Examples:
        >>> nearest("var_loss", ["loss", "val_loss", "val_accuracy"])
        'val_loss'
        >>> nearest("on_epoch_finish", ["on_epoch_begin", "on_epoch_end"])
        'on_epoch_end'
        >>> nearest("banana", ["loss", "val_loss"]) is None
        True
    """
    choices = sorted(set(known))
    same = resolve(name, choices)
    if same is not None:
        return same
    scored = [(_likeness(name, choice), choice) for choice in choices]
    best = max((likeness for likeness, _ in scored), default=0.0)
    return next(choice for likeness, choice in scored if likeness == best) if best >= _NEAR else None


def hint(name: str, known: Iterable[str], otherwise: str = ".") -> str:
    """Say in an error which known name was probably meant; `otherwise` where nothing is near.

    Examples:
        >>> "'var_loss' is not logged" + hint("var_loss", ["loss", "val_loss"])
        "'var_loss' is not logged; did you mean 'val_loss'?"
        >>> hint("banana", ["loss"])
        '.'
    """
    near = nearest(name, known)
    return f"; did you mean {near!r}?" if near else otherwise


@lru_cache(maxsize=4096)
def _canonical(name: str) -> str:
    pending = list(words(name))
    if pending:
        pending[0] = _PREFIX_ALIASES.get(pending[0], pending[0])
    done: list[str] = []
    while pending:
        for width in (2, 1):
            alias = _ALIASES.get(tuple(pending[:width]))
            if alias is not None or width == 1:
                done.extend(alias or pending[:1])
                del pending[:width]
                break
    return "_".join(done)


def _likeness(name: str, choice: str) -> float:
    """Compare as written and as meant; a name that only lacks some words of the other is near too."""
    ours, theirs = _kin(name), _kin(choice)
    if ours and ours == theirs:
        return 1.0
    contained = bool(ours) and bool(theirs) and (set(ours) <= set(theirs) or set(theirs) <= set(ours))
    meant = SequenceMatcher(None, "_".join(ours), "_".join(theirs), autojunk=False).ratio()
    written = SequenceMatcher(None, name.lower(), choice.lower(), autojunk=False).ratio()
    return max(meant, written, _NEAR + (1 - _NEAR) * meant / 2 if contained else 0.0)


def _kin(name: str) -> tuple[str, ...]:
    return tuple(_KIN.get(word, word) for word in _canonical(name).split("_") if word)
