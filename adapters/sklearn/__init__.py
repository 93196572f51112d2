"""scikit-learn estimators that have ``partial_fit``."""

from trainbus import MissingDependency

try:
    import sklearn as sklearn
except ImportError as error:
    raise MissingDependency(f"{error}; pip install 'trainbus[sklearn]'") from error

from .scoring import loss
from .stream import partial_fit_stream
from .subject import SklearnSubject
from .training import partial_fit

__all__ = ["SklearnSubject", "loss", "partial_fit", "partial_fit_stream"]
