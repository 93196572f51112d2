"""What other libraries call otherwise is named with what to write here, and every such advice is right."""

import pytest

from trainbus import Run
from trainbus.settings.other_names import RUN, no_attribute


@pytest.mark.parametrize("name", sorted(RUN))
def test_an_advice_is_given_for_names_that_a_run_does_not_have(name: str) -> None:
    """In one line; and a run has what the advice names."""
    advice = RUN[name]
    with pytest.raises(AttributeError) as raised, Run() as run:
        getattr(run, name)

    assert raised.value.__notes__ == [f"Run has no {name!r}; write {advice}"]
    for each in advice.split("run.")[1:]:
        assert hasattr(run, each.split("(")[0].split(".")[0].strip(":, "))


def test_only_what_a_run_lacks_is_advised() -> None:
    """Not what another object lacks, nor what another run lacks."""
    for lacks in (object(), Run()):
        with pytest.raises(AttributeError) as raised, Run():
            _ = lacks.global_step
        assert not hasattr(raised.value, "__notes__")


@pytest.mark.parametrize(
    ("name", "sentence"),
    [("lg", "did you mean 'log'?"), ("epoches", "did you mean 'epochs'?"), ("zzz", "Run has no 'zzz'.")],
)
def test_a_misspelt_name_is_named_with_the_nearest(name: str, sentence: str) -> None:
    """And private names, for which pickle and copy look, are absent as of any object."""
    assert sentence in no_attribute(Run(), name, RUN)
    assert not hasattr(Run(), "__fspath__")
    assert not hasattr(Run(), name)
