"""Decisions: what plugins return from hooks, and how the decisions of several plugins join.

A decision is a set of actions. Decisions join by set union, which is commutative, associative and idempotent, with
``NOTHING`` as identity: the result does not depend on the order of the plugins or on repeated answers.
"""

from .actions import REQUEST, Action, Forget, Keep, Restore, Save, ScaleLearningRate, SetLearningRate, Stop
from .decision import NOTHING, Decision, forget, join, keep, restore, save, scale_learning_rate, set_learning_rate, stop
from .values import FrozenValues, Value

__all__ = [
    "NOTHING",
    "REQUEST",
    "Action",
    "Decision",
    "Forget",
    "FrozenValues",
    "Keep",
    "Restore",
    "Save",
    "ScaleLearningRate",
    "SetLearningRate",
    "Stop",
    "Value",
    "forget",
    "join",
    "keep",
    "restore",
    "save",
    "scale_learning_rate",
    "set_learning_rate",
    "stop",
]
