"""Options that name learning rates."""

import pytest
import torch

from trainbus.adapters.torch import TorchSubject
from trainbus.plugins.rate_groups import check_floors_in_groups, unknown_names, unknown_rate
from trainbus.testing import LineSubject


@pytest.mark.parametrize(
    ("name", "known", "near"),
    [
        ("head", ["learning_rate/head", "learning_rate/body"], "learning_rate/head"),
        ("learning_rate/haed", ["learning_rate/head"], "learning_rate/head"),
        ("0", ["learning_rate/0", "learning_rate/1"], "learning_rate/0"),
        ("elephant", ["learning_rate"], None),
        ("a", [], None),
    ],
)
def test_the_nearest_rate_is_suggested(name: str, known: list[str], near: str | None) -> None:
    """Also the one whose group has the name; all are listed."""
    shown = unknown_rate(name, known)

    assert f"did you mean {near!r}?" in shown if near else "did you mean" not in shown
    assert shown.endswith(f"learning rates: {', '.join(known) or 'none'}")


@pytest.mark.parametrize(
    ("floors", "groups", "refused"),
    [
        (0.1, None, False),
        (0.1, ["a"], False),
        ({"a": 0.1}, None, False),
        ({"a": 0.1}, ["a", "b"], False),
        ({"c": 0.1}, ["a", "b"], True),
        ({"a": 0.1, "c": 0.0}, ["a"], True),
    ],
)
def test_a_floor_of_a_rate_that_is_never_cut_is_refused(floors: object, groups: object, refused: bool) -> None:
    if not refused:
        check_floors_in_groups(floors, groups)  # type: ignore[arg-type]
        return
    with pytest.raises(ValueError, match="min_lr names 'c', which groups leaves out"):
        check_floors_in_groups(floors, groups)  # type: ignore[arg-type]


def test_a_subject_without_rates_has_no_unknown_ones() -> None:
    """That it has none is another error."""
    model = torch.nn.Linear(1, 1)
    assert list(unknown_names("Some", TorchSubject(model), {"groups": ["a"]})) == []
    assert [str(each) for each in unknown_names("Some", LineSubject(), {"groups": ["learning_rate", "lr"]})] == [
        "Some: groups: 'lr' is not a learning rate; did you mean 'learning_rate'? learning rates: learning_rate"
    ]
