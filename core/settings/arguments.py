"""Check the arguments of functions that users call."""

from __future__ import annotations

import functools
import inspect
import operator
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, ParamSpec, TypeVar, cast

from ..errors import SettingsError
from ..limits import EPOCHS, check_whole_number
from ..metrics.names import hint_with_list
from ..terminal.text import shown
from .other_names import ARGUMENTS

P = ParamSpec("P")
T = TypeVar("T")


def checked(name: str, advice: str = "") -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Decorate a function so that a call with wrong arguments raises a ``SettingsError``.

    Valid calls cost nothing extra: the parameters are compared only after Python has raised a ``TypeError``.

    Args:
        name: The function's name in the message; for an ``__init__``, the name of the class.
        advice: The advice in the message for arguments that the function does not take.

    >>> @checked("train")
    ... def train(model, *, epochs=1): ...
    >>> train("a model", epoch=3)
    Traceback (most recent call last):
        ...
    trainbus.errors.SettingsError: train: unknown argument 'epoch'; did you mean 'epochs'? arguments: model, epochs
    """

    def decorate(function: Callable[P, T]) -> Callable[P, T]:
        @functools.wraps(function)
        def call(*given: P.args, **named: P.kwargs) -> T:
            try:
                return function(*given, **named)
            except TypeError as error:
                # a second frame in the traceback means that the error comes from inside the function
                if error.__traceback__ is not None and error.__traceback__.tb_next is not None:
                    raise
                why = mismatch(function, given, named, name, advice) or str(error)
            raise SettingsError(why)

        return call

    return decorate


def mismatch(
    function: Callable[..., Any],
    given: Iterable[object],
    named: Mapping[str, object],
    name: str,
    advice: str = "",
    more: Iterable[str] = (),
) -> str:
    """Return why a call does not fit a function's parameters, with the nearest valid name; "" if it fits.

    Args:
        function: The function, or a class.
        given: The positional arguments, including ``self`` for a method.
        named: The keyword arguments.
        name: The function's name in the message.
        advice: The advice in the message for arguments that the function does not take.
        more: Names of further valid keyword arguments.
    """
    parameters = list(inspect.signature(function).parameters.values())
    if parameters and parameters[0].name == "self":
        given, parameters = list(given)[1:], parameters[1:]
    given = list(given)
    positional = [each.name for each in parameters if each.kind in (each.POSITIONAL_ONLY, each.POSITIONAL_OR_KEYWORD)]
    known = [*(each.name for each in parameters if each.kind not in (each.VAR_KEYWORD, each.VAR_POSITIONAL)), *more]
    if not any(each.kind is each.VAR_KEYWORD for each in parameters):
        for wrong in named:
            if wrong not in known:
                meant = ARGUMENTS.get(wrong)
                near = hint_with_list(meant if meant in known else wrong, known, "arguments")
                rest = f"; {advice}" if advice and meant not in known else ""
                return f"{name}: unknown argument {wrong!r}{near}{rest}"
    if len(given) > len(positional) and not any(each.kind is each.VAR_POSITIONAL for each in parameters):
        count = f"{len(given)} {'was' if len(given) == 1 else 'were'} given"
        takes = f"only {', '.join(positional)} by position" if positional else "no argument by position"
        others = [each for each in known if each not in positional]
        advice = advice or (f"give others by name: {', '.join(others)}" if others else "leave the others out")
        return f"{name} takes {takes}, but {count}; {advice}"
    for twice in positional[: len(given)]:
        if twice in named:
            return f"{name}: the argument {twice!r} is given twice; give it once"
    needed = [each.name for each in parameters if each.default is each.empty and each.name in known]
    absent = [each for each in needed if each not in named and each not in positional[: len(given)]]
    call = ", ".join(each if each in positional else f"{each}=..." for each in needed)
    return f"{name}: the argument {absent[0]!r} is missing; give it: {name}({call})" if absent else ""


def not_by_name(*given: object) -> str:
    """Return why metrics cannot be passed as positional arguments, with the correct call.

    >>> not_by_name("loss", 0.5)
    'log takes one mapping by position, but 2 arguments were given; write log(loss=0.5)'
    >>> not_by_name("val/mAP@0.5", 0.5)
    "log takes one mapping by position, but 2 arguments were given; write log({'val/mAP@0.5': 0.5})"
    """
    name, value = given[0], given[1]
    right = f"log({name}={{}})" if isinstance(name, str) and name.isidentifier() else f"log({{{{{name!r}: {{}}}}}})"
    if isinstance(name, Mapping):
        right = "log({{**first, **second}})" if isinstance(value, Mapping) else "log(metrics, count={})"
    shown = repr(value) if isinstance(value, (int, float)) else "value"
    return f"log takes one mapping by position, but {len(given)} arguments were given; write {right.format(shown)}"


def whole_number(name: str, value: object, least: int, advice: str = "", most: int = EPOCHS) -> int:
    """Check an argument that must be a whole number, and return it as an int.

    Args:
        name: The argument's name in the message.
        value: The argument: an integer of Python, NumPy or another library, or a float such as 3.0.
        least: The smallest valid number.
        advice: The advice in the message, in place of "give a whole number of at least ...".
        most: The largest valid number.

    Raises:
        SettingsError: The value is not a whole number, or is too small or too large.

    >>> whole_number("epochs", 3.0, least=0)
    3
    >>> whole_number("epochs", "3", least=0)
    Traceback (most recent call last):
        ...
    trainbus.errors.SettingsError: epochs='3': give a whole number of at least 0, not text
    """
    number: int | None = None
    if isinstance(value, float) and value.is_integer():
        number = int(value)
    elif not isinstance(value, bool):
        try:
            number = operator.index(cast("Any", value))
        except TypeError:
            number = None
    if number is None or number < least:
        otherwise = f"give a whole number of at least {least}{', not text' if isinstance(value, str) else ''}"
        raise SettingsError(f"{name}={shown(value)}: {advice or otherwise}")
    try:
        check_whole_number(number, most)
    except ValueError as error:
        raise SettingsError(f"{name}={shown(value)}: {error}") from None
    return number


def checked_accumulate(value: object) -> int | None:
    """Return the number of batches in one weight update; None if the loop counts its updates itself.

    Raises:
        SettingsError: It is no whole number above 0.
    """
    advice = "give the number of batches per weight update, or None"
    return None if value is None else whole_number("accumulate", value, 1, advice)


def is_iterable(value: object) -> bool:
    """Return whether a value can be iterated over; a sequence may have ``__getitem__`` only.

    >>> is_iterable(range(3)), is_iterable(3)
    (True, False)
    """
    return hasattr(value, "__iter__") or hasattr(value, "__getitem__")


def check_loader(call: str, loader: object) -> None:
    """Refuse a loader that is not iterable.

    Args:
        call: The method of the run that has got it.
        loader: The loader.

    Raises:
        SettingsError: It is not iterable.
    """
    if not is_iterable(loader):
        raise SettingsError(f"{call}({loader!r}): give an iterable of batches, such as a DataLoader, or range(n)")


def check_validation_freq(value: object) -> None:
    """Raise an error unless a ``validation_freq`` is valid.

    Raises:
        SettingsError: The value is neither a number of at least 1 nor a collection of numbers of at least 1.

    >>> check_validation_freq([1, 5])
    """
    advice = "give a number of at least 1 to validate every n-th epoch, or a list of epochs counted from 1; [] for none"
    epochs: Collection[object] = [value]
    if isinstance(value, Collection) and not isinstance(value, (str, bytes)):
        epochs = cast("Collection[object]", value)
    for each in epochs:
        whole_number("validation_freq", each, 1, advice)


def check_metrics(metrics: object) -> None:
    """Raise an error unless metrics are a mapping whose keys are text.

    Raises:
        SettingsError: The metrics are not a mapping, or a key is not text.

    >>> check_metrics({"loss": 1.0})
    """
    if not isinstance(metrics, Mapping):
        raise SettingsError(
            f"metrics are {type(metrics).__name__}, not a mapping; write name=value, or {{name: value}}"
        )
    wrong = next((name for name in cast("Mapping[object, object]", metrics) if not isinstance(name, str)), "")
    if not isinstance(wrong, str):
        raise SettingsError(f"the metric {wrong!r} has a name that is not text; give text, such as {str(wrong)!r}")
