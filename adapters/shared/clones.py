"""Whether scikit-learn trains several clones of an estimator, such as in a search or a cross-validation."""

from __future__ import annotations

from trainbus import SettingsError

from .call_stack import frames

_TRAIN_CLONES = ("model_selection", "ensemble", "multiclass", "multioutput", "calibration", "feature_selection")
"""The packages of scikit-learn that fit clones of an estimator, each on other data or with other parameters."""


def check_resume(binding: str, resume: object) -> None:
    """Refuse to resume where scikit-learn trains several clones: each would continue the model of an earlier one.

    Args:
        binding: The name of the binding.
        resume: Its option ``resume``.

    Raises:
        SettingsError: It is given, and the current call comes from a search, a cross-validation or an ensemble.
    """
    if resume is None:
        return
    names = (str(frame.f_globals.get("__name__", "")).split(".") for frame in frames())
    package = next((each[1] for each in names if each[0] == "sklearn" and each[1:2] and each[1] in _TRAIN_CLONES), None)
    if package is not None:
        raise SettingsError(
            f"resume={resume!r} of {binding}: sklearn.{package} trains several clones of the estimator, and each would "
            "continue with the model of an earlier one, which has other data or parameters; leave resume out, and give "
            "each run files of its own, as in ModelCheckpoint('{run}/best')"
        )
