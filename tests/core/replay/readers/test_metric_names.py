"""Standard metric names."""

from hypothesis import given
from hypothesis import strategies as st

from trainbus.replay.readers.metric_names import standard_names

TAGS = st.text(st.sampled_from("valtrins_/-1 epochlrbdg"), min_size=1, max_size=14) | st.sampled_from(
    ["loss", "train_loss", "train/loss", "Loss/train", "loss_epoch", "train_loss_step", "lr", "lr-Adam", "val/loss"]
)


@given(st.lists(TAGS, unique=True))
def test_no_two_metrics_get_one_name(tags: list[str]):
    """Every metric that is kept gets a unique name that is not empty."""
    naming = standard_names(tags)

    assert len(set(naming.names.values())) == len(naming.names)
    assert all(naming.names.values())
    assert naming.notes or set(naming.names) == set(tags)
