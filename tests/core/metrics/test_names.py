"""The canonical form of a name, and the nearest known name."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainbus.metrics.names import canonical, hint, hint_with_list, nearest, resolve, unique, words

LOGGED = ["loss", "val_loss", "accuracy", "val_accuracy", "learning_rate", "val_auc"]
OPTIONS = ["filepath", "monitor", "patience", "verbose", "mode", "min_delta", "save_best_only", "restore_best_weights"]
HOOKS = ["on_train_begin", "on_epoch_begin", "on_epoch_end", "on_batch_begin", "on_batch_end", "on_train_end"]

names = st.one_of(st.text(max_size=20), st.sampled_from([*LOGGED, *OPTIONS, *HOOKS, "val_acc", "valid/AUROC", "lr"]))


@given(names)
def test_canonical_is_idempotent(name: str) -> None:
    """The canonical form of a canonical form is itself."""
    assert canonical(canonical(name)) == canonical(name)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        *[("val_acc", same) for same in ("val_accuracy", "valid/acc", "validation_Accuracy", "eval-acc", "Val Acc")],
        *[("lr", same) for same in ("learning_rate", "LearningRate", "learning-rate", "LR")],
        *[("auroc", same) for same in ("auc", "AUROC", "roc_auc", "auc_roc", "rocauc")],
        *[("train_err", same) for same in ("training/error", "TrainError")],
        ("top5", "top_5"),
        ("acc/top-5", "acc_top5"),
        ("f-1", "f1"),
        ("rouge-1", "ROUGE1"),
        ("hits-10", "hits@10"),
        ("val/mAP@0.5", "val_mAP_0.5"),
        ("R²", "r2"),
        ("precision@5", "precision_5"),
        ("F1 (macro)", "f1-macro"),
        ("val - loss", "val_loss"),
        ("val_Präzision", "VAL/PRÄZISION"),
        ("val_pre\u0301cision", "val_pr\u00e9cision"),
        ("\uff4coss", "loss"),
    ],
)
def test_aliases_compare_equal(one: str, other: str) -> None:
    """Names that mean the same have one canonical form."""
    assert canonical(one) == canonical(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        *[
            ("loss", "val_loss"),
            ("acc", "auc"),
            ("train_loss", "val_loss"),
            ("layer_1_1", "layer_11"),
            ("a_eval", "a_val"),
        ],
        *[
            ("val_准确率", "val_损失"),
            ("val_准确率", "val"),
            ("потери", "точность"),
            ("loss_λ", "loss_π"),
            ("कि", "की"),
        ],
        *[
            ("val_🐱", "val_🐶"),
            ("f1+", "f1-"),
            ("f1+", "f1"),
            ("p<0.5", "p>0.5"),
            ("p<0.5", "p<=0.5"),
            ("err%", "err"),
        ],
        *[("-loss", "loss"), ("val/-loss", "val/loss"), ("shift_-1", "shift_1"), ("1-acc", "1_acc"), ("f'", "f")],
        *[("lag-1", "lag_1"), ("lag-1", "lag1"), ("lag - 1", "lag_1"), ("q.5", "q5"), ("q.5", "q_5"), ("q0.5", "q0_5")],
        *[
            ("val/shift-2", "val/shift2"),
            ("lr1e-3", "lr1e3"),
            ("mAP@.5", "mAP@5"),
            ("loss.1", "loss_1"),
            ("1-2", "1_2"),
        ],
        *[("a*b", "a/b"), ("loss?", "loss"), ("précision", "pr_cision"), ("損失", "损失"), ("10⁵", "105"), ("!", "?")],
    ],
)
def test_different_names_stay_different(one: str, other: str) -> None:
    """Names that do not mean the same never compare equal."""
    assert canonical(one) != canonical(other)


@given(names, st.lists(names))
def test_a_resolved_name_is_a_known_one_that_means_the_same(name: str, known: list[str]) -> None:
    """The result is a known name with the same canonical form."""
    found = resolve(name, known)
    assert found is None or (found in known and canonical(found) == canonical(name))


@given(names, st.lists(names))
def test_a_known_name_is_itself(name: str, known: list[str]) -> None:
    """A known name resolves to itself and is the nearest to itself."""
    assert resolve(name, [*known, name]) == name
    assert nearest(name, [*known, name]) == name


@given(names, st.lists(names))
def test_the_nearest_name_is_known_and_does_not_depend_on_order(name: str, known: list[str]) -> None:
    """The nearest name is one of those known, whatever their order."""
    found = nearest(name, known)
    assert found is None or found in known
    assert nearest(name, reversed(known)) == found


def test_two_names_that_mean_the_same_resolve_to_neither() -> None:
    """If two known names mean the requested one, the name is not resolved."""
    assert resolve("valid_acc", ["val_acc", "val_accuracy"]) is None
    assert nearest("valid_acc", ["val_acc", "val_accuracy"]) in {"val_acc", "val_accuracy"}


@pytest.mark.parametrize(
    ("wrong", "known", "meant"),
    [
        ("var_loss", LOGGED, "val_loss"),
        ("val_los", LOGGED, "val_loss"),
        ("val_acuracy", LOGGED, "val_accuracy"),
        ("validation_acc", LOGGED, "val_accuracy"),
        ("val_auroc", LOGGED, "val_auc"),
        ("lr", LOGGED, "learning_rate"),
        ("vall_loss", LOGGED, "val_loss"),
        ("f1", ["loss", "val_loss", "val_f1"], "val_f1"),
        ("filpath", OPTIONS, "filepath"),
        ("filename", OPTIONS, "filepath"),
        ("patiance", OPTIONS, "patience"),
        ("save_best", OPTIONS, "save_best_only"),
        ("restore_best_weight", OPTIONS, "restore_best_weights"),
        ("mindelta", OPTIONS, "min_delta"),
        ("on_epoch_finish", HOOKS, "on_epoch_end"),
        ("on_epoch_start", HOOKS, "on_epoch_begin"),
        ("on_bach_end", HOOKS, "on_batch_end"),
        ("on_train_stop", HOOKS, "on_train_end"),
        ("best.kears", ["best.keras", "best.pt"], "best.keras"),
    ],
)
def test_a_slip_finds_what_was_meant(wrong: str, known: list[str], meant: str) -> None:
    """A misspelt or foreign name finds the known one that was meant."""
    assert nearest(wrong, known) == meant


@pytest.mark.parametrize("name", ["banana", "", "zzz", "_"])
def test_nothing_near_is_nothing(name: str) -> None:
    """If no name is near, or none is known, none is suggested."""
    assert nearest(name, LOGGED) is None
    assert nearest(name, []) is None


@given(names, st.lists(names, unique=True))
def test_a_hint_names_the_nearest_and_may_list_all(name: str, known: list[str]) -> None:
    """The list is in the order that was given; without a near name the hint is a full stop or what is given."""
    near = nearest(name, known)
    assert hint(name, known, otherwise="") == (f"; did you mean {near!r}?" if near else "")
    assert hint_with_list(name, known, "hooks") == f"{hint(name, known)} hooks: {', '.join(known) or 'none'}"


symbols = st.text(st.characters(min_codepoint=0x80, categories=["L", "N", "M", "S"]), min_size=1, max_size=3)


@given(symbols, symbols)
def test_names_outside_of_ascii_are_aliases_only_by_spelling(one: str, other: str) -> None:
    """Two names are the same only if Unicode calls their characters the same, whatever their case."""

    def spelled(name: str) -> str:
        return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())

    assert (canonical(f"val_{one}") == canonical(f"val_{other}")) <= (spelled(one) == spelled(other))
    assert canonical(f"val_{one}") != canonical("val")


@given(st.text())
def test_words_are_lower_case_and_without_separators(name: str) -> None:
    """Words of a name are never empty and contain neither capitals nor separators."""
    assert all(word and word == word.lower() and not set(word) & set(" _-/.:@") for word in words(name))


@given(st.lists(st.sampled_from(["a", "b", "a_2", "a_2_2", "a_3", "b_2"])))
def test_no_two_get_the_same_name(given_names: list[str]) -> None:
    """The first of each name keeps it, unless it was made for another before."""
    taken = set[str]()
    made = [unique(name, taken) for name in given_names]
    assert len(set(made)) == len(made)
    assert set(made) == taken
    assert all(new.startswith(old) for new, old in zip(made, given_names, strict=True))
