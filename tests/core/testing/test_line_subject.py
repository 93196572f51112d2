"""The small subject keeps the contract."""

import numpy as np

from trainbus.testing import LineSubject, check_subject


def train(subject: LineSubject) -> None:
    subject.train(np.array([0.1, 0.7]), np.array([1.0, 3.0]))


def test_the_small_subject_keeps_the_contract() -> None:
    """LineSubject has every capability and keeps each."""
    check_subject(LineSubject, train)
