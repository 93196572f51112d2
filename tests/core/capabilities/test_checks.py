"""A subject has the capabilities that ``isinstance`` says it has, and a missing one is explained."""

import gc
import weakref
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typing_extensions import get_protocol_members

from trainbus import capabilities
from trainbus.capabilities import HasLearningRate, Saveable, has, missing
from trainbus.testing import LineSubject

PROTOCOLS = [
    each for name in capabilities.__all__ if getattr(each := getattr(capabilities, name), "_is_runtime_protocol", False)
]


def method(*_: Any) -> None: ...


@given(st.sampled_from(PROTOCOLS), st.data())
def test_has_is_isinstance(capability: type, data: st.DataObject) -> None:
    """Whether a method is of the class, its base, the object or set to None, and however often it is asked."""
    of_class, of_object, base = dict[str, Any](), dict[str, Any](), dict[str, Any]()
    for name in get_protocol_members(capability):
        place = data.draw(st.sampled_from([of_class, of_class, of_object, base, None]))
        if place is not None:
            place[name] = data.draw(st.sampled_from([method, method, method, None]))
    kind = type("Subject", (type("Base", (), base),), of_class)
    with_attributes, plain = kind(), kind()
    vars(with_attributes).update(of_object)

    for subject in (with_attributes, plain, with_attributes):
        assert has(subject, capability) is isinstance(subject, capability)


@pytest.mark.parametrize("capability", PROTOCOLS)
def test_the_small_subject_and_a_bare_object(capability: type) -> None:
    """Only a capability without a method would be had by a bare object."""
    assert has(LineSubject(), capability) is isinstance(LineSubject(), capability)
    assert not has(object(), capability)


def test_classes_are_not_kept() -> None:
    """A notebook that defines its model again and again leaves no class behind."""
    kind = type("Model", (), {"save": method, "load": method})
    has(kind(), Saveable)
    reference = weakref.ref(kind)
    del kind
    gc.collect()
    assert reference() is None


def test_what_is_missing_is_named() -> None:
    """Each method that the object lacks; a refusal in the object's own words; nothing if all is there."""

    class Refusing(LineSubject):
        def refusal(self, capability: type) -> str | None:
            return "it is frozen" if capability is HasLearningRate else None

    class Partial:
        learning_rates = method
        set_learning_rates = None

    assert missing(None, Saveable) == "the run has no subject; write Run(subject, callbacks)"
    assert missing(Partial(), HasLearningRate) == "'Partial' has no set_learning_rates()"
    assert missing(Refusing(), HasLearningRate) == "it is frozen"
    assert missing(Refusing(), Saveable) is None
