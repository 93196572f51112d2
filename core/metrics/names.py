"""Names of metrics, options and hooks: their words, their canonical form, and the nearest known name."""

import re
import unicodedata
from collections.abc import Collection, Container, Iterable
from difflib import SequenceMatcher
from functools import lru_cache
from itertools import chain, count
from typing import Final, cast

from ..errors import SettingsError

# "BERTScore" is BERT Score, "top5" is top 5.
_BOUNDARY: Final = re.compile(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])|(?<=[^\W\d_])(?=\d)|(?<=\d)(?=[^\W\d_])")
_CHARACTER: Final = r"[A-Za-z0-9\x80-\U0010ffff]"  # words may contain combining marks: no letters in Python
_SEPARATORS: Final = re.compile(r"[\s_\-/\\.:,;@()\[\]{}]+")
_PARTS: Final = re.compile(rf"{_CHARACTER}+|.")
# A hyphen between words is a separator ("val-loss"); any other is a minus ("-loss", "lag-1", "f1-", "1 - accuracy").
_HYPHEN: Final = re.compile(rf"(^|(?<=/))1\s*-\s*(?=[^\W\d_])|(?<={_CHARACTER})(-+|\s+-+\s+)(?={_CHARACTER})|-+")
_MINUS: Final = "\u2212"
# These words have a number that is never negative, so "top-5" is "top 5".
_NUMBERED: Final = re.compile(r"(?i)(?<![A-Za-z])(top|f|bleu|rouge|hits?|recall|precision|ndcg|map|ap|ar)$")
_POINT: Final = re.compile(r"\.(?=\d)")  # "q.5" is not q5
_DECIMAL: Final = "\u00b7"
_POWER: Final = re.compile(r"(?<=\d)(?=[²³¹⁰⁴-⁹₀-₉])")  # "10⁵" is not 105

_PREFIX_ALIASES: Final = {
    "valid": "val",
    "validation": "val",
    "eval": "val",
    "evaluation": "val",
    "training": "train",
}
_VALIDATION: Final = re.compile(
    rf"^\W*(?i:val|{'|'.join(name for name, prefix in _PREFIX_ALIASES.items() if prefix == 'val')})"
    rf"({_SEPARATORS.pattern}|(?=[A-Z0-9]))"
)
_TRAINING: Final = re.compile(rf"^\W*(?i:train|training)({_SEPARATORS.pattern}|(?=[A-Z0-9]))")
_ALIASES: Final = {
    "acc": "accuracy",
    "auroc": "auc",
    "rocauc": "auc",
    "roc_auc": "auc",
    "auc_roc": "auc",
    "err": "error",
    "filename": "filepath",
    "logdir": "log_dir",
    "lr": "learning_rate",
    "perplexity": "ppl",
    "prec": "precision",
}
_ALIAS: Final = re.compile(rf"(?<![^_])({'|'.join(_ALIASES)})(?![^_])")
# Synonyms make two names similar but not equal, since another library's hook may have other arguments.
_SYNONYMS: Final = {"start": "begin", "finish": "end", "finished": "end", "stop": "end", "started": "begin"}
_NEAR: Final = 0.65  # minimum similarity for a name to be suggested instead of another


def check_name(name: str) -> None:
    """Raise an error if the name of a metric would corrupt the output of a terminal or a line of text.

    Raises:
        SettingsError: The name contains a line break, an escape sequence or another character that is not printable.

    >>> check_name("val/accuracy@5")
    """
    if not isinstance(cast("object", name), str):
        raise SettingsError(f"{name!r} is not a metric name; give text, such as 'loss'")
    if not name.strip():
        raise SettingsError(f"{name!r} is an empty metric name; give a name, such as 'loss'")
    if not name.isprintable():
        raise SettingsError(f"{name!r} is not a valid metric name: use only printable characters")


def first_free(name: str, taken: Container[str], separator: str = "-") -> str:
    """Return the name; if it is taken, the first free one of "name-2", "name-3" and so on.

    >>> first_free("Adam", {"Adam": 0.1, "Adam-2": 0.2})
    'Adam-3'
    """
    numbered = (f"{name}{separator}{number}" for number in count(2))
    return next(each for each in chain([name], numbered) if each not in taken)


def unique(name: str, taken: set[str]) -> str:
    """Return the name, with a number appended as in Keras if it is taken, and add the result to ``taken``.

    >>> taken = set()
    >>> [unique(name, taken) for name in ("dense", "dense", "dense_2")]
    ['dense', 'dense_2', 'dense_2_2']
    """
    found = first_free(name, taken, "_")
    taken.add(found)
    return found


def words(name: str) -> tuple[str, ...]:
    """Return the words of a name in lower case, split at separators, at capitals and between letters and digits.

    Examples:
        >>> words("val/BERTScore_top5")
        ('val', 'bert', 'score', 'top', '5')
        >>> words("MeanF1Epoch (%)")
        ('mean', 'f', '1', 'epoch')
    """
    spelled = ("".join(each for each in part if not _is_symbol(each)) for part in _parts(name))
    return tuple(word for word in spelled if word)


@lru_cache(maxsize=4096)
def canonical(name: str) -> str:
    """Return a form that is equal for all names with the same meaning: for known synonyms, and for other spellings.

    Names that differ only in separators, in capitals or in characters that Unicode defines as compatible are spellings
    of one name; any other difference makes another name. A hyphen or a point before a digit is part of the number.

    Examples:
        >>> canonical("valid/Acc"), canonical("val_accuracy")
        ('val_accuracy', 'val_accuracy')
        >>> canonical("lr") == canonical("learning-rate")
        True
        >>> canonical("p<0.5") == canonical("p>0.5"), canonical("lag-1") == canonical("lag_1")
        (False, False)
    """
    first, *rest = _parts(name) or ("",)
    return _ALIAS.sub(lambda alias: _ALIASES[alias[1]], "_".join([_PREFIX_ALIASES.get(first, first), *rest]))


def is_validated(name: str) -> bool:
    """Return whether a metric is a validation metric, judged by its name.

    >>> is_validated("val_loss"), is_validated("valid/mAP"), is_validated("loss")
    (True, True, False)
    """
    return canonical(name).startswith("val_")


def is_learning_rate(name: str) -> bool:
    """Return whether a metric is a learning rate, judged by its name.

    >>> is_learning_rate("learning_rate/SGD"), is_learning_rate("learningRate"), is_learning_rate("loss")
    (True, True, False)
    """
    return canonical(name).startswith("learning_rate")


def without_validation(name: str) -> str:
    """Return the name of a metric without its validation prefix, however the prefix is spelled.

    >>> [without_validation(name) for name in ("val_loss", "valid/mAP", "evalLoss", "loss", "value_loss")]
    ['loss', 'mAP', 'Loss', 'loss', 'value_loss']
    """
    return _VALIDATION.sub("", name, count=1) if is_validated(name) else name


def without_data(name: str) -> str:
    """Return the name of a metric without the prefix that says on which data it is computed.

    >>> [without_data(name) for name in ("val_loss", "train/loss", "trainingLoss", "loss", "trainable")]
    ['loss', 'loss', 'Loss', 'loss', 'trainable']
    """
    return _TRAINING.sub("", without_validation(name), count=1)


def resolve(name: str, known: Iterable[str]) -> str | None:
    """Return the name if it is known; otherwise the only known name with the same meaning, or None.

    Examples:
        >>> resolve("val_acc", ["loss", "val_accuracy"])
        'val_accuracy'
        >>> resolve("acc", ["loss", "val_accuracy"]) is None
        True
    """
    choices = dict.fromkeys(known)
    if name in choices:
        return name
    wanted = canonical(name)
    equal = [choice for choice in choices if canonical(choice) == wanted]
    return equal[0] if wanted and len(equal) == 1 else None


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Return the most similar known name; None if none is similar.

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
    near = {choice: similarity for choice in choices if (similarity := _similarity(name, choice)) >= _NEAR}
    return max(near, key=near.__getitem__, default=None)


def hint(name: str, known: Iterable[str], otherwise: str = ".") -> str:
    """Return the part of an error message that suggests the nearest known name; ``otherwise`` if none is similar.

    Examples:
        >>> "'var_loss' is not logged" + hint("var_loss", ["loss", "val_loss"])
        "'var_loss' is not logged; did you mean 'val_loss'?"
        >>> hint("banana", ["loss"])
        '.'
    """
    near = nearest(name, known)
    return f"; did you mean {near!r}?" if near else otherwise


def hint_with_list(name: str, known: Collection[str], what: str) -> str:
    """Return the part of an error message that suggests the nearest known name and lists all known names.

    Args:
        name: The wrong name.
        known: The right names.
        what: The kind of thing that has these names, in the plural.

    Examples:
        >>> "unknown hook 'on_end'" + hint_with_list("on_end", ["on_train_end", "on_epoch_begin"], "hooks")
        "unknown hook 'on_end'; did you mean 'on_train_end'? hooks: on_train_end, on_epoch_begin"
    """
    return f"{hint(name, known)} {what}: {', '.join(known) or 'none'}"


def _similarity(name: str, choice: str) -> float:
    """Return the similarity of two names by spelling and meaning; it is high if one contains all words of the other."""
    ours, theirs = _synonymous(name), _synonymous(choice)
    if ours and ours == theirs:
        return 1.0
    contained = bool(ours) and bool(theirs) and (set(ours) <= set(theirs) or set(theirs) <= set(ours))
    meant = SequenceMatcher(None, "_".join(ours), "_".join(theirs), autojunk=False).ratio()
    written = SequenceMatcher(None, name.lower(), choice.lower(), autojunk=False).ratio()
    return max(meant, written, _NEAR + (1 - _NEAR) * meant / 2 if contained else 0.0)


def _synonymous(name: str) -> tuple[str, ...]:
    return tuple(_SYNONYMS.get(word, word) for word in canonical(name).split("_") if word)


def _parts(name: str) -> tuple[str, ...]:
    """Return the words and the symbols of a name, such as "<", without its separators."""
    plain = unicodedata.normalize("NFKC", _POWER.sub("^", name))
    spaced = _BOUNDARY.sub(" ", _POINT.sub(f" {_DECIMAL} ", _HYPHEN.sub(_hyphen, plain))).lower()
    pieces = _SEPARATORS.split(unicodedata.normalize("NFKC", spaced))
    return tuple(part for piece in pieces for part in _PARTS.findall(piece))


def _hyphen(match: re.Match[str]) -> str:
    if match[2] is not None:
        negative = match.string[match.end()].isdigit() and not _NUMBERED.search(match.string[: match.start()])
        return f" {_MINUS} " if negative else " "
    return f" 1 {_MINUS} " if match[1] is not None else f" {_MINUS} "


def _is_symbol(character: str) -> bool:
    """Return whether a character is not a letter, a digit or a combining mark."""
    return unicodedata.category(character)[0] not in "LNM"
