"""The quality metrics of tasks in which the loss tells little, such as the mean average precision of a detector."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Final, Literal, NamedTuple

from .roles import Role


class Task(NamedTuple):
    """A task, and the metric by which its models are judged."""

    title: str
    metric: re.Pattern[str]
    """Found in ``Role.spelled`` of the metric."""
    mode: Literal["min", "max"]
    preferred: tuple[re.Pattern[str], ...] = ()
    """Which of several are better: those in which an earlier one is found."""
    unlike: re.Pattern[str] | None = None
    """Found in similar metrics that are something else."""
    beside: re.Pattern[str] | None = None
    """Found in some metric that is logged besides; None if the metric itself shows the task."""
    trained: bool = False
    """Whether its value during the training counts, since there is no other."""

    def measures(self, role: Role) -> bool:
        """Return whether this is a metric of the task.

        Args:
            role: The metric.
        """
        if not self.metric.search(role.spelled) or (role.trained and not self.trained):
            return False
        return self.unlike is None or not self.unlike.search(role.spelled)

    def is_logged(self, logged: Collection[Role]) -> bool:
        """Return whether a run with these metrics may be of this task.

        Args:
            logged: The metrics.
        """
        return self.beside is None or any(self.beside.search(each.spelled) for each in logged)

    def place(self, role: Role) -> int:
        """Return how far behind the best metric of the task this one is.

        Args:
            role: The metric.
        """
        found = (rank for rank, pattern in enumerate(self.preferred) if pattern.search(role.spelled))
        return next(found, len(self.preferred))


def _all(*patterns: str) -> tuple[re.Pattern[str], ...]:
    return tuple(map(re.compile, patterns))


_AP = r"_(m_ap|map|ap|a_ps|a_pm|a_pl|coco_eval_(bbox|segm|keypoints))_"
TASKS: Final = (
    Task(
        "object detection",
        re.compile(_AP),
        "max",
        # of the list of COCO, the first number is the mean over the overlaps 0.50 to 0.95
        _all(
            r"_ap_(0_)?50?_(0_)?95_",
            r"_coco_eval_\w+?_(0_)?$",
            r"_(bbox|box|coco)\w*_(ap|map)_$",
            r"_(ap|map)_$",
            r"_(ap|map)_(0_)?50?_",
            r"_(ap|map)_(0_)?75_",
            r"_(ap|map)_",
        ),
        unlike=re.compile(r"_coco_eval_\w+?_([1-9]|1\d)_$|_(loss|error)_"),
        beside=re.compile(r"_(m_ap|m_ap_\w+|bbox|box|boxes|rpn|giou|coco|dfl|segm|det|detection)_|_map_50_"),
    ),
    Task(
        "reinforcement learning",
        re.compile(
            r"_(mean|avg|average|ep|eps|eprew\w*|episode|episodes|episodic|eval|evaluation|test|train|normalized)\w*_"
            r"(reward|rewards|rew|return|returns|ret|score)_|_(reward|rew|return|returns)_(mean|avg|average)_"
            r"|_eprewmean_|_epret(urn)?mean_|_episodic_returns?_|^_((episode|env|environment)_)?(reward|return)_$"
        ),
        "max",
        _all(
            r"_normalized_score_",
            r"_(mean|avg|average)_|eprewmean|epretmean|epreturnmean",
            r"_(episode|episodic|ep)_",
            r"_(reward|return)",
        ),
        unlike=re.compile(
            r"_(std|len|length|lengths|loss|scale|bias|coef|per|rewards_\w*(chosen|rejected|accurac\w+|margins?)"
            r"|f_1_score|accuracy|bleu|wer|combined|time|explained|intrinsic|min|max)_|_(f|f_beta|r_2|clip|bert)_score_"
        ),
        beside=re.compile(
            r"_(ep|episode|episodes|eprewmean|episodic|rollout|rollouts|reward|rewards|rew|return|returns|ret|agent"
            r"|policy|env|runners|timesteps)_"
        ),
        trained=True,
    ),
    Task(
        "speech recognition",
        re.compile(r"_(wer|cer|uer)_"),
        "min",
        _all(r"_wer_$", r"_wer_", r"_cer_$", r"_cer_"),
        unlike=re.compile(r"_(loss|ctc)_"),
    ),
    Task("translation", re.compile(r"_(sacre_?bleu|bleu|chrf)_"), "max", _all(r"_(sacre_?)?bleu_$", "_bleu")),
    Task(
        "summarization",
        re.compile(r"_rouge_?\w*_"),
        "max",
        _all(r"_rouge_l_", r"_rouge_2_", r"_rouge_?lsum_|_rouge_l_sum_", r"_rouge_1_"),
        unlike=re.compile(r"_(precision|recall|low|high)_"),
    ),
    Task("image generation", re.compile(r"_c?fid_(?!\w*loss)"), "min"),
)
"""Tasks; of several that a run may have, the first one counts."""
