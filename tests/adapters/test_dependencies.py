"""An adapter whose framework is not installed names the command that installs it."""

import subprocess
import sys

import pytest

HIDDEN = """
import sys

class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == {package!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Hidden())
"""


def without(package: str, code: str) -> str:
    """Return the last line that ``code`` writes to standard error if the package is not installed."""
    script = HIDDEN.format(package=package) + code
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=300, check=False)
    return done.stderr.strip().splitlines()[-1]


@pytest.mark.parametrize(
    ("adapter", "package"),
    [
        ("keras", "keras"),
        ("ray", "ray"),
        ("torch", "torch"),
        ("sklearn", "sklearn"),
        ("lightning", "lightning"),
        ("ignite", "ignite"),
        ("skorch", "skorch"),
        ("jax", "jax"),
        ("transformers", "transformers"),
        ("xgboost", "xgboost"),
        ("lightgbm", "lightgbm"),
        ("optuna", "optuna"),
    ],
)
def test_a_missing_framework_gives_the_pip_command(adapter: str, package: str) -> None:
    """Importing the adapter raises MissingDependency, which is an ImportError, with the command that helps."""
    line = without(package, f"import trainbus.adapters.{adapter}")

    assert line.startswith("trainbus.errors.MissingDependency: No module named")
    assert f"pip install 'trainbus[{adapter}]'" in line


@pytest.mark.exhaustive
def test_without_skops_only_saving_is_refused() -> None:
    """Estimators train without skops; ModelCheckpoint is refused with the command that helps."""
    line = without(
        "skops",
        "from sklearn.linear_model import SGDClassifier\n"
        "from trainbus import Run\n"
        "from trainbus.adapters.sklearn import SklearnSubject\n"
        "from trainbus.plugins import EarlyStopping, ModelCheckpoint\n"
        "Run(SklearnSubject(SGDClassifier()), EarlyStopping(restore_best_weights=True))\n"
        "Run(SklearnSubject(SGDClassifier()), ModelCheckpoint('best'))\n",
    )

    assert line.startswith(
        "trainbus.errors.MissingCapability: ModelCheckpoint needs a subject that can be written to a file"
    )
    assert "pip install 'trainbus[sklearn]'" in line


@pytest.mark.exhaustive
def test_the_demo_names_the_command_that_installs_what_it_lacks() -> None:
    """A demo without its framework, or without the data's package, ends with one line and exit code 1."""
    for package, framework in (("torch", "torch"), ("sklearn", "sklearn")):
        line = without(
            package, f"from trainbus.cli import main; sys.exit(main(['demo', '--framework', {framework!r}]))"
        )

        assert line.startswith("trainbus: ")
        assert f"pip install 'trainbus[{framework}]'" in line
