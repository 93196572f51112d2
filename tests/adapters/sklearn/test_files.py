"""Files of skops and of joblib."""

import json
import pickle
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pytest
import skops.io
from sklearn.cluster import Birch
from sklearn.linear_model import SGDClassifier
from sklearn.naive_bayes import GaussianNB

from trainbus import CheckpointError, MissingCapability
from trainbus.adapters.sklearn import SklearnSubject, partial_fit
from trainbus.adapters.sklearn import files as sklearn_files
from trainbus.plugins import ModelCheckpoint

from .estimators import LABELS, Own, X, fitted, make

# deprecated since scikit-learn 1.8, gone in 1.10
pytestmark = pytest.mark.filterwarnings("ignore:Class PassiveAggressive:FutureWarning")


class Exploit:
    def __reduce__(self):
        return (Path.touch, (Path("ran"),))


def test_files_that_could_run_code_are_refused(tmp_path):
    """A pickle, a file of third-party types, and one of another estimator all raise, and change nothing."""
    subject = SklearnSubject(make("SGDClassifier"))
    pickled = tmp_path / "pickled.skops"
    pickled.write_bytes(pickle.dumps(Exploit()))
    skops.io.dump(Own().partial_fit(X, LABELS, classes=[0, 1, 2]), tmp_path / "own.skops")
    skops.io.dump(GaussianNB(), tmp_path / "other.skops")
    for name, sentence in (
        ("pickled", "is not a readable skops file"),
        ("own", r"holds types from outside skops and scikit-learn: .*Own; if you trust them"),
        ("other", "holds a GaussianNB, which a SGDClassifier cannot load"),
    ):
        with pytest.raises(CheckpointError, match=sentence):
            subject.load(tmp_path / f"{name}.skops")
    assert not Path("ran").exists()
    assert not fitted(subject.estimator)


def test_types_that_the_user_trusts_are_read(tmp_path):
    """Named types in .skops, and .joblib if it is named: nothing is trusted by itself."""
    own = Own().partial_fit(X, LABELS, classes=[0, 1, 2])
    name = f"{Own.__module__}.Own"
    SklearnSubject(own).save(tmp_path / "own.skops", weights_only=False)
    subject = SklearnSubject(Own(), trusted=[name])
    subject.load(tmp_path / "own.skops")
    assert np.array_equal(subject.estimator.coef_, own.coef_)

    SklearnSubject(own, trusted=".joblib").save(tmp_path / "own.joblib", weights_only=False)
    with pytest.raises(CheckpointError, match=r'runs any code that it holds; .*trusted=\[".joblib"\]'):
        subject.load(tmp_path / "own.joblib")
    subject = SklearnSubject(Own(), trusted=[".joblib"])
    subject.load(tmp_path / "own.joblib")
    assert np.array_equal(subject.estimator.coef_, own.coef_)
    (tmp_path / "cut.joblib").write_bytes((tmp_path / "own.joblib").read_bytes()[:100])
    with pytest.raises(CheckpointError, match="is not a readable joblib file"):
        subject.load(tmp_path / "cut.joblib")


def test_joblib_writes_estimators_that_skops_cannot(tmp_path, caplog):
    """And a warning explains once what that means."""
    with pytest.raises(MissingCapability, match="skops"):
        partial_fit(Birch(), X, callbacks=ModelCheckpoint(str(tmp_path / "m.joblib")))
    sklearn_files._warn.cache_clear()
    run = partial_fit(
        Birch(), X, epochs=3, callbacks=ModelCheckpoint(str(tmp_path / "m.joblib")), trusted=".joblib", resume="auto"
    )
    again = partial_fit(
        Birch(), X, epochs=4, callbacks=ModelCheckpoint(str(tmp_path / "m.joblib")), trusted=".joblib", resume="auto"
    )

    assert [run.result.epochs, again.result.epochs] == [3, 4]
    assert caplog.text.count("runs the code that it holds when it is read") == 1


@pytest.mark.parametrize(("module", "name"), [("sklearn.utils._testing", "check_output"), ("sklearn.nothing", "X")])
def test_functions_that_scikit_learn_only_imports_are_not_trusted(module, name, tmp_path):
    """A name that begins with "sklearn." but is defined elsewhere, such as a way to run commands, is refused."""
    skops.io.dump(SGDClassifier(), tmp_path / "honest.skops")
    with ZipFile(tmp_path / "honest.skops") as archive:
        schema = json.loads(archive.read("schema.json"))
    schema["__module__"], schema["__class__"] = module, name
    with ZipFile(tmp_path / "forged.skops", "w") as archive:
        archive.writestr("schema.json", json.dumps(schema))
    with pytest.raises(CheckpointError, match=f"types from outside skops and scikit-learn: {module}.{name}"):
        SklearnSubject(SGDClassifier()).load(tmp_path / "forged.skops")
