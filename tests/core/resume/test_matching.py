"""Each plugin gets the state that was saved for it, if that still means the same under its current settings."""

from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainbus import Callback, Run, SettingsError, hookimpl
from trainbus.plugins import EarlyStopping, ReduceLROnPlateau
from trainbus.resume.matching import PluginMatch, match_plugins
from trainbus.resume.state import PluginState
from trainbus.testing import LineSubject

from .scored import SAVED, resumed

BEFORE = [SAVED, EarlyStopping(patience=2, min_delta=0.1), ReduceLROnPlateau(patience=2)]
CHANGES: list[tuple[list[Callback], list[str]]] = [
    ([SAVED, EarlyStopping(patience=50, min_delta=0.1), BEFORE[2]], ["patience 2 -> 50: it keeps its state"]),
    ([SAVED, BEFORE[2], BEFORE[1]], []),
    (
        [SAVED, EarlyStopping(monitor="val_loss_2", patience=2, min_delta=0.1, mode="min"), BEFORE[2]],
        ["monitor 'val_loss' -> 'val_loss_2', mode 'auto' -> 'min': it starts without a state"],
    ),
    ([SAVED, BEFORE[1]], ["is no longer listed: its state is dropped"]),
    ([*BEFORE, EarlyStopping(patience=9)], ["is new: it starts without a state"]),
    (
        [SAVED, EarlyStopping(patience=3), BEFORE[2]],
        ["min_delta 0.1 -> 0.0, patience 2 -> 3: it keeps its state"],
    ),
    ([SAVED, EarlyStopping(patience=2, min_delta=0.1, verbose=1), BEFORE[2]], []),
]


@pytest.mark.parametrize(("after", "lines"), CHANGES)
def test_the_new_settings_win_and_each_difference_is_one_line(
    after: list[Callback], lines: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    resumed([1.0, 1.0], *BEFORE)
    with Run(LineSubject(), after, progress=False, resume="auto") as run:
        pass

    logged = [record.getMessage() for record in caplog.records]
    assert run.resumed is not None
    assert len(logged) == len(lines)
    assert all(part in line for part, line in zip(lines, logged, strict=True))


@pytest.mark.parametrize(("after", "lines"), CHANGES)
def test_a_strict_resume_refuses_every_difference_at_once(after: list[Callback], lines: list[str]) -> None:
    resumed([1.0, 1.0], *BEFORE)

    with ExitStack() as refused:
        if lines:
            raised = refused.enter_context(pytest.raises(SettingsError, match="resume_strict"))
        refused.enter_context(Run(LineSubject(), after, progress=False, resume="auto", resume_strict=True))

    if lines:
        assert all(part in str(raised.value) for part in lines)


def test_a_larger_patience_revokes_the_stop_and_continues_counting() -> None:
    resumed([1.0, 2.0, 2.0, 2.0], SAVED, EarlyStopping(patience=2))
    run = resumed([1.0, *[2.0] * 9], SAVED, EarlyStopping(patience=4))

    assert run.result.reason == "val_loss 2 did not improve on 1 (epoch 1) for the 4th time"
    assert run.result.epochs == 5


class Counter:
    """A plain plugin with a state."""

    @hookimpl
    def on_epoch_end(self) -> None: ...

    def state_dict(self) -> dict[str, int]:
        return {"epochs": 1}

    def load_state_dict(self, state: Any) -> None: ...


def match(before: Sequence[Callback], after: Sequence[Callback]) -> PluginMatch:
    """Match lists of callbacks whose plugins all have saved a state; its value is the index in ``before``."""
    saved = []
    for index, callback in enumerate(before):
        settings = callback.settings()
        saved.append(
            PluginState(name=f"p{index}", callback=settings.pop("callback"), settings=settings, state_dict=index)
        )
    callbacks = {f"p{index}": callback for index, callback in enumerate(after)}
    return match_plugins(saved, {name: each.plugin() for name, each in callbacks.items()}, callbacks)


different = st.lists(
    st.builds(EarlyStopping, patience=st.integers(0, 9)), unique_by=lambda each: each.patience, max_size=5
)


@given(different.flatmap(lambda listed: st.tuples(st.just(listed), st.permutations(listed))))
def test_equal_settings_match_in_any_order(lists: tuple[list[Callback], list[Callback]]) -> None:
    """A list in another order is no difference: each plugin gets the state of the one with its settings."""
    before, after = lists
    found = match(before, after)

    assert found.differences == []
    assert {name: state.state_dict for name, state in found.states.items()} == {
        f"p{index}": before.index(callback) for index, callback in enumerate(after)
    }
    assert found.unchanged == {f"p{before.index(callback)}": f"p{index}" for index, callback in enumerate(after)}


@given(different, different)
def test_no_state_is_given_twice(before: list[Callback], after: list[Callback]) -> None:
    """Every plugin has at most one state, every state goes to at most one plugin, and the rest is reported."""
    found = match(before, after)

    given_states = [state.state_dict for state in found.states.values()]
    assert len(given_states) == len(set(given_states))
    assert set(found.unchanged.values()) <= set(found.states)
    new = sum("is new" in each for each in found.differences)
    dropped = sum("is no longer listed" in each for each in found.differences)
    assert new == max(len(after) - len(found.states), 0)
    assert dropped == max(len(before) - len(found.states), 0)


def test_a_plain_plugin_is_matched_by_its_name() -> None:
    """Without a callback there are no settings to compare."""
    saved = [PluginState(name="Counter", state_dict={"epochs": 3}), PluginState(name="Other", state_dict={})]

    found = match_plugins(saved, {"Counter": Counter(), "Counter-2": Counter()}, {})
    assert found.states == {"Counter": saved[0]}
    assert found.differences == [
        "Counter-2 is new: it starts without a state",
        "Other is no longer listed: its state is dropped",
    ]


def test_a_plain_plugin_without_a_state_is_unchanged() -> None:
    """Its part of the decision that saved the checkpoint is still valid; one that is gone has lost nothing."""
    found = match_plugins([PluginState(name="Counter"), PluginState(name="Gone")], {"Counter": Counter()}, {})

    assert found.unchanged == {"Counter": "Counter"}
    assert found.differences == []
