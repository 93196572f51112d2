"""README and docs are true: every block of Python in them runs, and what they list is all there is."""

import inspect
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from trainbus import Hooks, MissingDependency, capabilities, decision, installed
from trainbus.hooks import HOOKS

from .callbacks_page import ORDER, PAGE, text

ROOT = Path(__file__).parents[2]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
FRAMEWORKS = ROOT / "docs" / "frameworks.md"
PYTHON = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_block_of_python_runs(document: Path) -> None:
    """The blocks of a document run one after the other, as a reader would type them."""
    if document != FRAMEWORKS:
        run_blocks(document)
        return
    # the threads of JAX do not survive the forks of other tests
    code = "from tests.docs.test_documents import FRAMEWORKS, run_blocks; run_blocks(FRAMEWORKS)"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True, timeout=300)


def run_blocks(document: Path) -> None:
    """Execute the blocks of Python in a document; leave out those whose framework is missing."""
    text = document.read_text(encoding="utf-8")
    scope: dict[str, object] = {"__name__": "document"}
    for block in PYTHON.finditer(text):
        line = text[: block.start()].count("\n") + 1
        try:
            exec(compile("\n" * line + block[1], str(document), "exec"), scope)
        except MissingDependency:  # of a framework whose adapter the block imports first
            assert document == FRAMEWORKS


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_inside_the_project_leads_somewhere(document: Path) -> None:
    """Relative links name files that are there."""
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", document.read_text(encoding="utf-8")):
        assert (document.parent / target).exists(), target


@pytest.mark.parametrize("hook", HOOKS)
def test_every_hook_is_documented_with_its_arguments(hook: str) -> None:
    """docs/hooks.md has each hook as it is specified."""
    arguments = list(inspect.signature(getattr(Hooks, hook)).parameters)[1:]

    assert f"`{hook}({', '.join(arguments)})`" in (ROOT / "docs/hooks.md").read_text(encoding="utf-8")


def test_every_word_of_decisions_and_every_capability_is_documented() -> None:
    """The tables of words and of capabilities leave none out."""
    hooks, adapters = ((ROOT / "docs" / name).read_text() for name in ("hooks.md", "writing-an-adapter.md"))

    for word in ("stop", "save", "forget", "keep", "restore", "scale_learning_rate", "set_learning_rate"):
        assert callable(getattr(decision, word))
        assert f"| `{word}(" in hooks
    others = {"Node", "PartWriters", "has", "in_words", "missing", "saves_in_background", "supports"}
    for name in set(capabilities.__all__) - others:
        assert f"| `{name}` |" in adapters


def test_readme_lists_every_callback_with_its_main_options_and_their_defaults() -> None:
    """The table of callbacks has each installed one, with what it requires; the defaults that it gives are right."""
    rows = {row.split("|")[1].strip(" `"): row for row in (ROOT / "README.md").read_text().splitlines() if "|" in row}
    for name, point in installed("callbacks").items():
        fields = point.load().model_fields
        for option, field in fields.items():
            if field.is_required():
                assert f"`{option}`" in rows[name]
        for option, value in re.findall(r"(\w+)`?=(.*?)(?=, `?\w+`?=| \|)", rows[name]):
            assert eval(value) == fields[option].default, option


def test_the_page_of_callbacks_has_every_option_as_it_is() -> None:
    """It is what the docstrings say; ``python -m tests.docs.callbacks_page`` writes it anew."""
    assert set(ORDER) == set(installed("callbacks"))
    assert PAGE.read_text(encoding="utf-8") == text()


def test_the_example_package_installs_and_is_found(tmp_path: Path) -> None:
    """The example in docs, installed as a stranger's package, is listed, runs by its name, and keeps the contract."""
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation"]
    source = tmp_path / "source"
    source.mkdir()
    for file in ("pyproject.toml", "trainbus_target.py"):
        (source / file).write_text((ROOT / "docs/trainbus-target" / file).read_text())
    subprocess.run([*command, "--target", str(tmp_path / "site"), str(source)], check=True, timeout=300)
    script = (
        "import trainbus\n"
        "assert 'StopAtTarget' in trainbus.installed('callbacks')\n"
        "settings = {'callback': 'StopAtTarget', 'monitor': 'accuracy', 'target': 0.9}\n"
        "with trainbus.Run(callbacks=[settings]) as run:\n"
        "    for epoch in run.epochs(10):\n"
        "        run.log(accuracy=epoch / 5)\n"
        "from trainbus.testing import check_callback\n"
        "check_callback(trainbus.callbacks_from([settings])[0], [{'accuracy': 0.5}, {'accuracy': 0.95}])\n"
        "print(run.result.reason)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "site")}
    result = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, timeout=300, check=False
    )

    assert (result.stdout, result.stderr) == ("accuracy reached 0.9\n", "")


def test_the_example_of_a_reader_installs_and_reads(tmp_path: Path) -> None:
    """The example in docs, installed as a stranger's package, reads its format, beside the built-in readers."""
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation"]
    source = tmp_path / "source"
    shutil.copytree(ROOT / "docs/trainbus-spacy-log", source)
    subprocess.run([*command, "--target", str(tmp_path / "site"), str(source)], check=True, timeout=300)
    (tmp_path / "train.log").write_text(
        "Pipeline: ['tok2vec', 'ner']\n"
        "E    #       LOSS TOK2VEC  LOSS NER  ENTS_F  SCORE\n"
        "---  ------  ------------  --------  ------  ------\n"
        "  0       0          0.00     48.93    0.23    0.00\n"
        "  0     200         40.11   2000.92   60.10    0.60\n"
        "  1     400         66.21   1200.34   70.20    0.70\n"
        "Saved pipeline to output directory\n"
    )
    script = (
        "from trainbus.replay import read\n"
        "found = read('train.log')\n"
        "print(found.format, found.unit, found.steps.tolist(), found.metrics['SCORE'].values.tolist())\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "site")}
    result = subprocess.run(
        [sys.executable, "-c", script],
        env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip

    assert (result.stdout, result.stderr) == ("spaCy step [0, 200, 400] [0.0, 0.6, 0.7]\n", "")
