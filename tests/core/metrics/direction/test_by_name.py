"""Infer from a metric's name in which direction it improves."""

import hashlib
import json
import re
import tomllib
from collections.abc import Callable, Collection, Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainbus.errors import UnknownDirection
from trainbus.metrics.direction import by_name, direction_of, vocabulary
from trainbus.metrics.names import words

DATA = Path(__file__).parent / "data"
Labelled = dict[str, str | None]

# These words need not be learnt: alone they decide nothing.
STRUCTURE = ("measure", "circumstance", "negation")


class Tally(NamedTuple):
    """How many names were judged right, wrong, or not at all; and how many without a direction got one."""

    right: float
    wrong: float
    refused: float
    invented: float


def given_names() -> Labelled:
    rows = json.loads((DATA / "metric_directions.json").read_text(encoding="utf-8"))
    return {row["name"]: row["direction"] for row in rows}


def practitioner_names(half: int) -> Labelled:
    groups = tomllib.loads((DATA / "practitioner_directions.toml").read_text(encoding="utf-8"))
    flat = {name: label for group in groups.values() for label, names in group.items() for name in names}
    chosen = {name: label for name, label in flat.items() if hashlib.sha256(name.encode()).digest()[0] % 2 == half}
    return {name: None if label == "refuse" else label for name, label in chosen.items()}


def wild_names(file: str) -> Labelled:
    lists = tomllib.loads((DATA / file).read_text(encoding="utf-8"))
    return {name: None if label == "refuse" else label for label, names in lists.items() for name in names}


def judged(name: str) -> str | None:
    try:
        return direction_of(name)
    except UnknownDirection:
        return None


def tally(labelled: Mapping[str, str | None]) -> Tally:
    directed = {name: label for name, label in labelled.items() if label is not None}
    undirected = [name for name, label in labelled.items() if label is None]
    answers = {name: judged(name) for name in directed}
    right = sum(answers[name] == label for name, label in directed.items())
    refused = sum(answer is None for answer in answers.values())
    invented = sum(judged(name) is not None for name in undirected)
    total = len(directed)
    return Tally(
        right / total,
        (total - right - refused) / total,
        refused / total,
        invented / len(undirected) if undirected else 0,
    )


@contextmanager
def without(texts: Collection[str]) -> Generator[None, None, None]:
    """Judge as if the vocabulary had never had these phrases."""
    caches = [getattr(by_name, name) for name in ("known_direction", "_split")]
    kept = {text: term for text, term in by_name._TERMS.items() if text not in texts}
    for cache in caches:
        cache.cache_clear()
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(by_name, "_TERMS", kept)
            patch.setattr(by_name, "_BUILDING_BLOCKS", by_name._BUILDING_BLOCKS - set(texts))
            yield
    finally:
        for cache in caches:
            cache.cache_clear()


def parts(name: str) -> tuple[str, ...]:
    """Give the words of a name that are not mere circumstances (val, epoch, numbers)."""
    return tuple(word for word in words(name) if word not in vocabulary.CIRCUMSTANCES and not word.isdigit())


def phrases_of(names: Collection[str]) -> set[str]:
    return {term.text for name in names for term in by_name._terms(words(name))}


def test_given_names_get_their_direction() -> None:
    """At least 99 in 100 of the given names get their direction, no name a wrong one, no undirected name any."""
    result = tally(given_names())
    assert result.right >= 0.99
    assert result.wrong == 0
    assert result.invented == 0


@pytest.mark.parametrize("half", [0, 1])
def test_practitioner_names_get_their_direction(half: int) -> None:
    """At least 97 in 100 of the names that practitioners log are judged right and at most 1 in 200 wrong."""
    result = tally(practitioner_names(half))
    assert result.right >= 0.97
    assert result.wrong <= 0.005
    assert result.invented <= 0.05


@pytest.mark.parametrize("file", ["wild_directions.toml", "wild_directions_2.toml"])
def test_names_found_in_public_code_are_seldom_wrong(file: str) -> None:
    """Of names that strangers chose, at least 9 in 10 are judged right and at most 1 in 100 wrong."""
    result = tally(wild_names(file))
    assert result.right >= 0.9
    assert result.wrong <= 0.01
    assert result.invented <= 0.05


def test_no_name_of_several_words_needs_an_entry_of_its_own() -> None:
    """Without the entries that are a complete name of the data, names of several words still get their direction."""
    data = {name: label for name, label in given_names().items() if label is not None and len(parts(name)) > 1}
    spelt_out = {"".join(parts(name)) for name in data} | {"".join(words(name)) for name in data}
    with without(spelt_out):
        result = tally(data)
    assert result.right >= 0.75
    assert result.wrong <= 0.06


def test_words_learnt_from_other_names_suffice() -> None:
    """In each of ten folds, only what the other nine folds' names use decides: seldom wrong, mostly right."""
    data = {name: label for name, label in given_names().items() if len(parts(name)) > 1}
    learnable = {text for text, term in by_name._TERMS.items() if term.kind not in STRUCTURE}
    right = wrong = total = 0.0
    for fold in range(10):
        held = {
            name: label
            for name, label in data.items()
            if hashlib.sha256("".join(words(name)).encode()).digest()[1] % 10 == fold
        }
        taught = phrases_of([name for name in given_names() if name not in held])
        with without(learnable - taught):
            result = tally(held)
        directed = sum(label is not None for label in held.values())
        right, wrong, total = right + result.right * directed, wrong + result.wrong * directed, total + directed
    assert right / total >= 0.75
    assert wrong / total <= 0.03


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        *[
            (name, "min")
            for name in ("mape", "top5_error", "error_top1", "false_acceptance_rate", "negative_log_likelihood")
        ],
        *[(name, "min") for name in ("davies_bouldin_score", "lpips", "DISTS", "total_variation", "cross_entropy")],
        *[(name, "min") for name in ("learned_perceptual_image_patch_similarity", "wil", "per", "fpr_at_95_tpr")],
        *[
            (name, "min")
            for name in ("accuracy_loss", "dice_loss", "loss_iou", "cosine_distance", "val/s/it", "s/it", "time/epoch")
        ],
        *[(name, "max") for name in ("neg_log_loss", "neg_negative_likelihood_ratio", "d2_absolute_error_score")],
        *[
            (name, "max")
            for name in ("signal_distortion_ratio", "explained_variance", "samples_per_sec", "wip", "-mse")
        ],
        *[
            (name, "max")
            for name in ("mAP50-95", "BERTScore", "s_qu_ad", "mean_io_u", "p@5", "brier_skill_score", "R²")
        ],
        *[(name, None) for name in ("loss_scale", "entropy", "std_f1_score", "negative_sampling_loss", "reward_std")],
    ],
)
def test_traps(name: str, expected: str | None) -> None:
    """Names that mislead a reader of substrings are judged by what they mean."""
    assert judged(name) == expected


@pytest.mark.parametrize(
    "name",
    [
        "lr",
        "learning_rate",
        "grad_norm",
        "d_loss",
        "lossG",
        "policy/loss",
        "critic_loss",
        "entropy",
        "confusion_matrix",
        "foo",
        "loss_scale",
        "bias",
        "ks",
        "motp",
        "top_k",
        "top_p",
        "grad_clip",
        "input_ids",
        "num_layers",
        "l2_norm",
        "iou_threshold",
        "time_step",
        "end_time",
        "epochs",
        "batch_size",
        "total_tokens",
        "reward_scale",
        "loss_fn",
        "nan_count",
        "train/step",
        "train/batch",
        "val/token",
        "feature_map",
        "boxes_per_image",
        "kl_coef",
        "num_bad_epochs",
        "val",
        "epoch",
        "1",
        "_",
    ],
)
def test_settings_and_counters_are_refused(name: str) -> None:
    """A name that is not a score, or is ambiguous, is refused with a sentence that names the fix."""
    with pytest.raises(UnknownDirection, match=re.escape(f"{name!r} ") + '.*mode="max" or mode="min"'):
        direction_of(name)


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("val_acuracy", "val_accuracy"),
        ("acurracy", "accuracy"),
        ("val_los", "val_loss"),
        ("valid/Precison", "valid/precision"),
        ("recal@5", "recall@5"),
        ("val_mean_squared_eror", "val_mean_squared_error"),
        ("sensitivty", "sensitivity"),
        ("perplexty", "perplexity"),
        ("jacard_index", "jaccard_index"),
        ("eval/rogue1", "eval/rouge1"),
        ("val_presicion", "val_precision"),
        ("jakkard", "jaccard"),
        ("val/akkuracy", "val/accuracy"),
        ("val_belu", "val_bleu"),
        ("iuo", "iou"),
        ("val_pre", "val_prec"),
        ("sensetifity", "sensitivity"),
    ],
)
def test_a_slip_in_a_name_is_named_before_the_mode(name: str, meant: str) -> None:
    """A known metric was probably meant, and its direction is known."""
    with pytest.raises(UnknownDirection, match=f"; did you mean {meant!r}? if not, write mode=".replace("?", r"\?")):
        direction_of(name)


@pytest.mark.parametrize("name", ["grad_norm", "val_准确率", "banana", "val_x", "epoch", "foo_bar", "_", "my_metric"])
def test_what_is_near_no_known_metric_needs_a_mode(name: str) -> None:
    """No other name is suggested."""
    with pytest.raises(UnknownDirection, match="upwards or downwards; write mode="):
        direction_of(name)


DIRECTED = [name for name, label in given_names().items() if label is not None]
DECORATIONS: list[Callable[[str], str]] = [
    *(
        lambda name, prefix=prefix: prefix + name
        for prefix in (
            "val_",
            "train_",
            "valid_",
            "test_",
            "eval_",
            "eval/",
            "val/",
            "metrics/",
            "head_b/",
            "out1_",
            "best_",
        )
    ),
    *(
        lambda name, suffix=suffix: name + suffix
        for suffix in ("_epoch", "_step", "/dataloader_idx_0", "_1", "_mean", "_avg", "/val")
    ),
]


@given(st.sampled_from(DIRECTED), st.lists(st.sampled_from(DECORATIONS), max_size=3))
def test_decorations_keep_the_direction(name: str, decorations: list[Callable[[str], str]]) -> None:
    """Where, when and how a metric was taken does not change which way it improves."""
    decorated = name
    for decorate in decorations:
        decorated = decorate(decorated)
    assert direction_of(decorated) == direction_of(name), decorated


@given(st.sampled_from(DIRECTED), st.sampled_from(["neg_{}", "val_neg_{}", "-{}", "neg_neg_neg_{}", "neg-{}"]))
def test_a_negated_metric_improves_the_other_way(name: str, pattern: str) -> None:
    """A metric with the prefix ``neg_`` improves in the other direction; a negated loss may be refused, never kept."""
    flipped = {"min": "max", "max": "min"}[direction_of(name)]
    assert judged(pattern.format(name)) in ({flipped, None} if "loss" in name.lower() else {flipped})


@given(st.text())
def test_any_text_is_answered_or_refused(name: str) -> None:
    """No text raises anything but UnknownDirection, and no answer is other than min or max."""
    assert judged(name) in {"min", "max", None}


@given(st.lists(st.sampled_from(sorted(by_name._TERMS)), min_size=1, max_size=6))
def test_any_phrases_are_answered_or_refused(phrases: list[str]) -> None:
    """Any combination of known phrases is judged, in the same way each time."""
    assert judged("_".join(phrases)) == judged("_".join(phrases))


SEPARATED = sorted({"_".join(words(name)) for name in DIRECTED if not re.search(r"[/@:|-]", name)})


@given(
    st.sampled_from(SEPARATED),
    st.sampled_from(["-", " ", ".", "__"]),
    st.sampled_from([str.upper, str.title, str.lower]),
)
def test_case_and_separators_do_not_matter(name: str, separator: str, cased: Callable[[str], str]) -> None:
    """A name gets the same direction in any case, with any separator."""
    assert direction_of(cased(name.replace("_", separator))) == direction_of(name)


@given(st.sampled_from(SEPARATED))
def test_capitals_separate_words(name: str) -> None:
    """A name in CamelCase is judged like the same name in snake_case."""
    assert direction_of("".join(word.capitalize() for word in name.split("_"))) == direction_of(name)
