"""Which of the logged metrics a practitioner would look at, best first, each with the reason."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from functools import cached_property
from typing import Final, Literal, NamedTuple

import numpy as np

from ...metrics.direction import known_direction
from ..records import Recording
from .roles import Role
from .tasks import TASKS, Task

Mode = Literal["min", "max"]


class Ranked(NamedTuple):
    """A metric by which runs may be judged."""

    name: str
    mode: Mode
    why: str


class _Logged:
    """What the runs log, as far as the reasons need it.

    Args:
        recordings: The runs.
        roles: The metrics that most of them log, in the order of logging.
    """

    def __init__(self, recordings: Sequence[Recording], roles: Sequence[Role]) -> None:
        self.recordings, self.roles = recordings, roles

    @cached_property
    def task(self) -> Task | None:
        """The task of the runs, if a metric of its own shows it."""
        return next((each for each in TASKS if each.is_logged(self.roles) and self._shows(each)), None)

    @cached_property
    def without_held_out(self) -> str:
        """Why the runs are not judged on held-out data."""
        found: dict[str, list[str]] = {}
        for each in self.roles:
            if each.held_out:
                why = constancy(each.name, self.recordings) or "does not tell by its name whether lower is better"
                found.setdefault(why, []).append(each.name)
        like = {why: f", like {len(names) - 1} more," if names[1:] else "" for why, names in found.items()}
        listed = (f"{names[0]}{like[why]} {why}" for why, names in found.items())
        return " and ".join(listed) or "nothing on held-out data is logged"

    def is_evaluation(self, role: Role) -> bool:
        """Return whether an unmarked metric is that of an evaluation.

        The loss of the training is called so, and the metric is not; or it is logged more rarely than the loss, or
        below a heading, and the loss is not.

        Args:
            role: The metric.
        """
        if role.is_loss or role.trained:
            return False
        if all(each.trained for each in self._losses):
            return True
        rarely = self._values_of(role) < self._few_values
        return rarely or (role.namespaced and not any(each.namespaced for each in self._losses))

    @cached_property
    def _losses(self) -> Sequence[Role]:
        """The losses of the training."""
        return [each for each in self.roles if each.is_loss and not each.held_out]

    @cached_property
    def _few_values(self) -> float:
        return _MOST_VALUES * max(map(self._values_of, self._losses))

    def _values_of(self, role: Role) -> int:
        """Return how many values of a metric are logged in all runs."""
        return sum(int(each.metrics[role.name].logged.sum()) for each in self.recordings if role.name in each.metrics)

    def _shows(self, task: Task) -> bool:
        return any(task.measures(role) and changes(role.name, self.recordings) for role in self.roles)


_MOST_VALUES: Final = 0.75
"""The part of the values of a loss from which on a metric is not logged more rarely."""


_FIRST: Final = re.compile(r"_(m_io_u|m_iou|miou|mean_iou|mean_io_u|mean_dice|f_1|score|psnr|ndcg)_")
"""Found in a metric that is looked at first among those that are logged with it, such as mIoU before aAcc."""
_LAST: Final = re.compile(r"_(top|acc|accuracy|prec|precision|recall)_\w*?(3|5|10)_")
"""Found in one that is looked at last, such as the accuracy of the first five guesses."""


_NUMBER: Final = re.compile(r"\d+")
_ENOUGH: Final = 20
"""Of names that differ only in numbers, such as those of thousands of weights, the others are as the first ones."""


class Reason(NamedTuple):
    """A reason to judge runs by a metric."""

    why: str
    holds: Callable[[Role, _Logged], bool]


def _of_the_task(role: Role, runs: _Logged) -> bool:
    return runs.task is not None and runs.task.measures(role)


def _held_out_loss(role: Role, _: _Logged) -> bool:
    return role.held_out and role.is_total_loss


def _held_out_loss_by_name(role: Role, _: _Logged) -> bool:
    return role.held_out and role.stands_for_loss and not role.is_loss


def _held_out_quality(role: Role, _: _Logged) -> bool:
    return role.held_out and not role.is_loss


def _evaluation(role: Role, runs: _Logged) -> bool:
    return runs.is_evaluation(role)


def _held_out(role: Role, _: _Logged) -> bool:
    return role.held_out


def _total_loss(role: Role, _: _Logged) -> bool:
    return role.is_total_loss


def _loss_by_name(role: Role, _: _Logged) -> bool:
    return role.stands_for_loss


def _quality(role: Role, _: _Logged) -> bool:
    return not role.is_loss


def _any(_: Role, __: _Logged) -> bool:
    return True


REASONS: Final = (
    Reason("the quality metric of {task}", _of_the_task),
    Reason("the loss on held-out data", _held_out_loss),
    Reason("a loss on held-out data by its own name", _held_out_loss_by_name),
    Reason("a quality metric on held-out data", _held_out_quality),
    Reason("a quality metric, logged as that of an evaluation", _evaluation),
    Reason("a part of the loss on held-out data, of which no total is logged", _held_out),
    Reason("the loss of the training, since {held_out}", _total_loss),
    Reason("a loss of the training by its own name, since {held_out}", _loss_by_name),
    Reason("a quality metric of the training, since no total loss is logged", _quality),
    Reason("a part of the loss of the training, since nothing else is logged", _any),
)
"""The reasons, the best first; a metric has the first one that holds."""


class _Candidate:
    """A metric with its place in the ranking.

    Args:
        role: The metric.
        runs: What the runs log.
        place: The place of the metric in the order of logging.
    """

    def __init__(self, role: Role, runs: _Logged, place: int) -> None:
        self.role, self.runs = role, runs
        self.reason = next(number for number, each in enumerate(REASONS) if each.holds(role, runs))
        task = runs.task if self.reason == 0 else None
        self.task = task
        self.order = (
            self.reason,
            role.is_running_best,
            role.held_out_rank if role.held_out_rank is not None else len(TASKS),
            task.place(role) if task else 0,
            role.is_smoothed,
            _place_in_family(role),
            role.length,
            -_eval_set(role),
            place,
        )

    @cached_property
    def mode(self) -> Mode | None:
        """The direction in which it improves; None if its name does not show it."""
        return known_direction(self.role.name) if self.task is None else self.task.mode

    @property
    def why(self) -> str:
        """The reason in words."""
        task = self.task.title if self.task else ""
        return REASONS[self.reason].why.format(task=task, held_out=self.runs.without_held_out)


def rank(recordings: Sequence[Recording], *, constant: bool = False) -> Iterator[Ranked]:
    """Yield the metrics by which a practitioner may judge these runs, the best first.

    Never a speed, a time, memory or a counter, and no metric whose direction is unknown.

    Args:
        recordings: The runs.
        constant: Whether to yield only metrics that never change in place of those that do.

    >>> from ..records import Series
    >>> numbers = Series(np.array([3.0, 2.0]), np.array([True, True]))
    >>> run = Recording("a", np.arange(2), dict.fromkeys(["time", "loss", "val_accuracy", "val_loss"], numbers))
    >>> [(each.name, each.why) for each in rank([run])][:2]
    [('val_loss', 'the loss on held-out data'), ('val_accuracy', 'a quality metric on held-out data')]
    """
    counts = Counter(name for recording in recordings for name in recording.metrics)
    most = max(counts.values(), default=0)
    trained = frozenset[str]().union(*(each.trained for each in recordings))
    roles = [Role(name, of_training=name in trained) for name, count in counts.items() if 2 * count >= most]
    roles = [each for each in roles if not (each.is_speed or each.is_counter)]
    runs = _Logged(recordings, roles)
    undirected = Counter[str]()
    for each in sorted((_Candidate(role, runs, place) for place, role in enumerate(roles)), key=lambda one: one.order):
        alike = _NUMBER.sub("0", each.role.spelled)
        if undirected[alike] >= _ENOUGH:
            continue
        undirected[alike] += each.mode is None
        if each.mode is not None and changes(each.role.name, recordings) is not constant:
            yield Ranked(each.role.name, each.mode, each.why)


def constancy(name: str, recordings: Collection[Recording]) -> str | None:
    """Return in words that a metric tells nothing, and why; None if it changes in some run.

    Args:
        name: The name of the metric.
        recordings: The runs.

    >>> from ..records import Series
    >>> run = Recording("a", np.arange(3), {"wer": Series(np.full(3, np.nan), np.ones(3, np.bool_))})
    >>> constancy("wer", [run])
    'has no finite value'
    """
    if changes(name, recordings):
        return None
    logged = (each.metrics[name].values for each in recordings if name in each.metrics)
    return "never changes" if any(np.isfinite(values).any() for values in logged) else "has no finite value"


def changes(name: str, recordings: Collection[Recording]) -> bool:
    """Return whether a metric has different values in some run; one with a single value in each run may have.

    Args:
        name: The name of the metric.
        recordings: The runs.

    >>> from ..records import Series
    >>> zeros = Series(np.zeros(3), np.ones(3, np.bool_))
    >>> changes("wer", [Recording("a", np.arange(3), {"wer": zeros})])
    False
    """
    longest = 0
    for each in recordings:
        if name not in each.metrics:
            continue
        values, logged = each.metrics[name]
        found = values[logged]
        longest = max(longest, found.size)
        known = found[~np.isnan(found)]
        if known.size and (known.size < found.size or known.min() != known.max()):
            return True
    return longest == 1


def _place_in_family(role: Role) -> int:
    """Return 0 for a metric that is looked at first among those that are logged with it, 2 for one looked at last."""
    return 0 if _FIRST.search(role.spelled) else 2 if _LAST.search(role.spelled) else 1


def _eval_set(role: Role) -> int:
    """Return the number of the data set of XGBoost, which stops by the last one; 0 for other names."""
    return int(role.words[1]) if role.words[0] == "validation" and role.words[1:2] and role.words[1].isdigit() else 0
