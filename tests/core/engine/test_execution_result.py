"""A result reaches other ranks as JSON data, and is the same there."""

import json
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from trainbus import CheckpointError
from trainbus.checkpoints import Checkpoint, ManifestEntry
from trainbus.checkpoints.async_writer import FailedSave
from trainbus.decision import Decision, Forget, Keep, Restore, Save, ScaleLearningRate, Stop
from trainbus.engine.execution_result import ExecutionResult

texts = st.text(max_size=5)
paths = st.sampled_from(["m.npz", "run/m-1.npz", "run/ä b"])
actions = st.one_of(
    st.builds(Stop, reason=texts, by=texts),
    st.builds(Save, path=paths, reason=texts, by=texts, weights_only=st.booleans()),
    st.builds(Forget, source=paths, by=texts),
    st.builds(Keep, slot=texts, by=texts),
    st.builds(Restore, source=texts, by=texts),
    st.builds(ScaleLearningRate, factor=st.floats(0.1, 0.9), floor=st.floats(0, 0.1), by=texts),
)
entries = st.builds(
    ManifestEntry,
    digest=st.just("0" * 64),
    size=st.integers(0, 9),
    epoch=st.integers(0, 9),
    step=st.integers(0, 2**60),
    metrics=st.dictionaries(texts, st.floats(allow_nan=False, allow_infinity=False), max_size=2),
    written=st.floats(0, 2e9),
    reason=texts,
)
results = st.builds(
    ExecutionResult,
    st.frozensets(actions, max_size=4).map(Decision),
    st.lists(
        st.builds(lambda path, content: Checkpoint(path=Path(path), entry=content), paths, entries), max_size=2
    ).map(tuple),
    st.lists(
        st.builds(
            lambda path, step, error: FailedSave(Path(path), step, CheckpointError(error)),
            paths,
            st.integers(0, 9),
            texts,
        ),
        max_size=2,
    ).map(tuple),
)


@given(results)
def test_a_result_comes_back_from_json(result: ExecutionResult) -> None:
    """Of errors, the messages."""
    back = ExecutionResult.from_json(json.loads(json.dumps(result.to_json())))

    assert back[:2] == result[:2]
    assert [(path, step, str(error)) for path, step, error in back.failed] == [
        (path, step, str(error)) for path, step, error in result.failed
    ]
    assert any(back) == any(result)


@given(entries)
def test_the_states_of_checkpoints_stay_behind(content: ManifestEntry) -> None:
    """They can be large, and every rank has its own."""
    content = content.model_copy(update={"run_state": {"large": [1, 2, 3]}})
    result = ExecutionResult(committed=(Checkpoint(path=Path("m"), entry=content),))

    assert "large" not in json.dumps(result.to_json())
    assert ExecutionResult.from_json(result.to_json()).committed[0].entry.run_state == {}
