"""Each phrase of the vocabulary can be found in a name, and decides what its list says."""

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainbus.errors import UnknownDirection
from trainbus.metrics.direction import direction_of, vocabulary
from trainbus.metrics.names import words

LISTS = {name: found for name, found in vars(vocabulary).items() if name.isupper() and isinstance(found, frozenset)}
MEANINGS = (
    "RISING_NAMES",
    "FALLING_NAMES",
    "RISING_NOUNS",
    "FALLING_NOUNS",
    "UNDIRECTED",
    "SPREADS",
    "MEASURES",
    "CIRCUMSTANCES",
    "NEGATIONS",
)
"""The lists that give a phrase its meaning; the others hold words with a role in one pattern."""


def judged(name: str) -> str | None:
    """Return the direction of a name; None if it has none."""
    try:
        return direction_of(name)
    except UnknownDirection:
        return None


@pytest.mark.parametrize(("one", "other"), list(combinations(MEANINGS, 2)))
def test_no_phrase_is_in_two_lists(one: str, other: str) -> None:
    """Each phrase means one thing: the lists that decide are disjoint."""
    assert not LISTS[one] & LISTS[other]


@pytest.mark.parametrize("name", LISTS)
def test_every_phrase_can_occur_in_a_name(name: str) -> None:
    """A phrase is compared with the words of a name without separators, so it consists of such words itself."""
    for phrase in LISTS[name]:
        assert phrase == "".join(words(phrase)), phrase
        assert phrase


def test_a_phrase_may_be_written_on_two_lines() -> None:
    """A line break within a phrase is a space."""
    assert {"positivepredictivevalue", "truenegative", "explainedvariance"} <= vocabulary.RISING_NAMES


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("RISING_NAMES", "max"),
        ("RISING_NOUNS", "max"),
        ("FALLING_NAMES", "min"),
        ("FALLING_NOUNS", "min"),
        ("UNDIRECTED", None),
        ("SPREADS", None),
        ("CIRCUMSTANCES", None),
        ("NEGATIONS", None),
    ],
)
def test_a_phrase_alone_has_the_direction_of_its_list(name: str, expected: str | None) -> None:
    """A longer phrase that contains others still decides itself."""
    assert {phrase for phrase in LISTS[name] if judged(phrase) != expected} == set()


def test_a_measure_alone_improves_upwards_if_its_name_says_so() -> None:
    """A score and a top are better if they are higher; a rate or a count may be of anything."""
    assert {phrase for phrase in vocabulary.MEASURES if judged(phrase) is not None} == {"score", "top"}
    assert {judged(phrase) for phrase in ("score", "top")} == {"max"}


@pytest.mark.parametrize("measure", sorted(vocabulary.MEASURES - {"top"}))
def test_a_measure_takes_the_direction_of_what_it_measures(measure: str) -> None:
    """``error_rate`` falls, ``success_rate`` rises."""
    assert (judged(f"val_error_{measure}"), judged(f"val_success_{measure}")) == ("min", "max")


@given(
    st.sampled_from(sorted(vocabulary.CIRCUMSTANCES)),
    st.sampled_from([("accuracy", "max"), ("perplexity", "min"), ("learning_rate", None)]),
)
def test_a_circumstance_before_a_metric_changes_nothing(circumstance: str, metric: tuple[str, str | None]) -> None:
    """Where, when and on which data a metric is computed does not change its direction."""
    name, expected = metric
    assert judged(f"{circumstance}/{name}") == expected


@pytest.mark.parametrize("spread", sorted(vocabulary.SPREADS))
@pytest.mark.parametrize("pattern", ["accuracy_{}", "{}_accuracy", "val/{}/loss"])
def test_a_spread_has_no_direction(spread: str, pattern: str) -> None:
    """The spread of a metric does not show how good it is."""
    assert judged(pattern.format(spread)) is None


@pytest.mark.parametrize("negation", sorted(vocabulary.NEGATIONS))
def test_a_negation_turns_the_direction_round(negation: str) -> None:
    """A negated error improves upwards."""
    assert (judged(f"{negation}_mse"), judged(f"{negation}_accuracy")) == ("max", "min")


@pytest.mark.parametrize("opponent", sorted(vocabulary.OPPONENTS))
def test_an_adversarial_loss_has_no_direction(opponent: str) -> None:
    """It falls when training goes badly as often as when it goes well."""
    assert judged("loss") == "min"
    assert judged(f"{opponent}_loss") is None


@pytest.mark.parametrize("unit", sorted(vocabulary.TIME_UNITS))
def test_a_unit_of_time_makes_a_speed_or_a_time(unit: str) -> None:
    """Samples per unit are a speed, units per sample a time."""
    assert (judged(f"samples_per_{unit}"), judged(f"{unit}_per_sample")) == ("max", "min")


@pytest.mark.parametrize("preposition", sorted(vocabulary.PREPOSITIONS))
def test_a_preposition_separates_a_metric_from_its_condition(preposition: str) -> None:
    """In ``precision_at_error`` the metric is before the preposition."""
    assert judged(f"precision_{preposition}_error") == "max"


@pytest.mark.parametrize("ending", vocabulary.ENDINGS)
@given(unknown=st.text("qxz", min_size=3, max_size=20))
def test_an_ending_decides_an_unknown_compound(ending: str, unknown: str) -> None:
    """A word that is new but ends as a known metric has the direction of that metric."""
    assert judged(unknown + ending) == judged(ending) is not None


def test_words_of_compounds_are_no_phrases() -> None:
    """They are listed only to split a compound word; a phrase splits it anyway."""
    assert not vocabulary.BUILDING_WORDS & frozenset[str]().union(*(LISTS[name] for name in MEANINGS))
    assert judged("multiclassaccuracy") == "max"
    assert judged("symmetricmeanabsolutepercentageerror") == "min"
