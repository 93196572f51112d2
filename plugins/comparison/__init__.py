"""How callbacks compare the values of a metric: what counts as better, and when they look."""

from .better import better_arguments
from .compared_metric import ComparedMetric, Observation
from .looks import looking
from .settings import ComparisonSettings

__all__ = ["ComparedMetric", "ComparisonSettings", "Observation", "better_arguments", "looking"]
