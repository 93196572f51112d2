"""Every option of the other libraries' callbacks is known here: on the page that translates it, and in the error."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import re
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from trainbus import Callback, SettingsError
from trainbus.plugins import (
    EarlyStopping,
    LearningRateScheduler,
    ModelCheckpoint,
    ReduceLROnPlateau,
    TerminateOnNaN,
    TimeLimit,
)

PAGE = Path(__file__).parents[3] / "docs" / "which-rule.md"
SECTIONS = dict(re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL))
TORCH, LIGHTNING = "PyTorch: `torch.optim.lr_scheduler.ReduceLROnPlateau`", "PyTorch Lightning"
HEAVY = pytest.mark.exhaustive

CALLBACKS: list[Any] = [
    ("Keras", "keras.callbacks:EarlyStopping", EarlyStopping),
    ("Keras", "keras.callbacks:ReduceLROnPlateau", ReduceLROnPlateau),
    ("Keras", "keras.callbacks:ModelCheckpoint", ModelCheckpoint),
    ("Keras", "keras.callbacks:BackupAndRestore", ModelCheckpoint),
    ("Keras", "keras.callbacks:LearningRateScheduler", LearningRateScheduler),
    ("Keras", "keras.callbacks:TerminateOnNaN", TerminateOnNaN),
    (TORCH, "torch.optim.lr_scheduler:ReduceLROnPlateau", ReduceLROnPlateau),
    pytest.param(LIGHTNING, "lightning.pytorch.callbacks:EarlyStopping", EarlyStopping, marks=HEAVY),
    pytest.param(LIGHTNING, "lightning.pytorch.callbacks:ModelCheckpoint", ModelCheckpoint, marks=HEAVY),
    pytest.param(LIGHTNING, "lightning.pytorch.callbacks:OnExceptionCheckpoint", ModelCheckpoint, marks=HEAVY),
    pytest.param(LIGHTNING, "lightning.pytorch.callbacks:Timer", TimeLimit, marks=HEAVY),
    ("Ignite", "ignite.handlers:EarlyStopping", EarlyStopping),
    ("Ignite", "ignite.handlers:Checkpoint", ModelCheckpoint),
    ("Ignite", "ignite.handlers:ModelCheckpoint", ModelCheckpoint),
    ("Ignite", "ignite.handlers:DiskSaver", ModelCheckpoint),
    ("Ignite", "ignite.handlers:TerminateOnNan", TerminateOnNaN),
    ("Ignite", "ignite.handlers:TimeLimit", TimeLimit),
    ("Ignite", "ignite.handlers:ReduceLROnPlateauScheduler", ReduceLROnPlateau),
    ("skorch", "skorch.callbacks:EarlyStopping", EarlyStopping),
    ("skorch", "skorch.callbacks:Checkpoint", ModelCheckpoint),
    ("skorch", "skorch.callbacks:TrainEndCheckpoint", ModelCheckpoint),
    ("skorch", "skorch.callbacks:LoadInitState", ModelCheckpoint),
    ("skorch", "skorch.callbacks:LRScheduler", ReduceLROnPlateau),
    ("Hugging Face Transformers", "transformers:EarlyStoppingCallback", EarlyStopping),
]  # fmt: skip


def imported(place: str) -> Any:
    module, _, name = place.partition(":")
    pytest.importorskip(module.partition(".")[0], reason="needs trainbus[bench]")
    return getattr(import_module(module), name)


def options(kind: Any) -> list[str]:
    """Return the names of the options of a class."""
    several = inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL
    return [name for name, each in inspect.signature(kind).parameters.items() if each.kind not in several]


def absent(section: str, names: list[str]) -> list[str]:
    """Return the names that no code of a section of the page has."""
    lines = re.sub(r"^```.*?^```", "", SECTIONS[section], flags=re.MULTILINE | re.DOTALL)
    words = {word for code in re.findall(r"`([^`]+)`", lines) for word in re.findall(r"\w+", code)}
    return [name for name in names if name not in words]


@pytest.mark.parametrize(("section", "place", "own"), CALLBACKS)
def test_the_page_has_a_line_for_every_option(section: str, place: str, own: type[Callback]) -> None:
    """Also for one that has no counterpart; the line says so."""
    kind = imported(place)

    assert absent(section, options(kind)) == []
    assert kind.__name__ in SECTIONS[section]
    assert own.__name__ in SECTIONS[section]


def written(section: str) -> set[tuple[str, Any]]:
    """Return each option that the code of a section of the page gives a value, with this value."""
    pairs: set[tuple[str, Any]] = set()
    for name, text in re.findall(r'(\w+)=("[^"]*"|[\w.+-]+)', " ".join(re.findall(r"`([^`]+)`", SECTIONS[section]))):
        try:
            pairs.add((name, ast.literal_eval(text)))
        except (ValueError, SyntaxError):  # the name of an object
            pairs.add((name, text))
    return pairs


@pytest.mark.parametrize(("section", "place", "own"), CALLBACKS)
def test_the_page_names_every_default_that_differs(section: str, place: str, own: type[Callback]) -> None:
    """Except those that turn something off, such as None and False."""
    known, missing = written(section), []
    for name, each in inspect.signature(imported(place)).parameters.items():
        default = getattr(each.default, "value", each.default)  # of an Enum
        field = own.model_fields.get(name)
        if default is each.empty or callable(default) or not (default or (name == "save_on_rank")):
            continue
        if (field is None or field.default != default) and (name, default) not in known:
            missing.append(f"{name}={default!r}")
    assert missing == []


def test_the_page_has_the_options_of_the_monitor_of_rates() -> None:
    assert absent(LIGHTNING, ["LearningRateMonitor", "logging_interval", "log_momentum", "log_weight_decay"]) == []


@pytest.mark.parametrize(("section", "place", "own"), CALLBACKS)
def test_an_error_translates_every_option(section: str, place: str, own: type[Callback]) -> None:
    """A foreign option is answered by what to write here, never by a name that only looks alike."""
    assert section in SECTIONS
    required: dict[str, Any] = {"filepath": "m-{epoch}"} if own is ModelCheckpoint else {}
    required |= {"schedule": "math:sqrt"} if own is LearningRateScheduler else {}
    required |= {"limit": "1 hour"} if own is TimeLimit else {}
    for name in options(imported(place)):
        if name in own.model_fields:
            continue
        with pytest.raises(SettingsError, match=rf"{name}: unknown option; write \S"):
            own(**{name: 1}, **required)


def test_the_page_has_the_arguments_of_the_trainer() -> None:
    """Those that evaluate, save, choose the best or schedule."""
    kind = imported("transformers:TrainingArguments")
    rule = re.compile(r"save_|eval_(strategy|steps|delay|on_start)$|.*best|greater|lr_scheduler|enable_jit")
    names = [each.name for each in dataclasses.fields(kind) if rule.match(each.name)]

    assert len(names) > 12
    assert absent("Hugging Face Transformers", [*names, "restore_callback_states_from_checkpoint"]) == []


@pytest.mark.exhaustive
def test_the_page_has_what_lightning_names_elsewhere() -> None:
    """Attributes of its class, arguments of its trainer, and keys of a scheduler's configuration."""
    kind = imported("lightning.pytorch.callbacks:ModelCheckpoint")
    names = [name for name in vars(kind) if name.isupper()]
    trainer = options(imported("lightning.pytorch:Trainer"))
    given = [
        name for name in trainer if re.match(r"min_(epochs|steps)|max_time|val_check|check_val|.*checkpointing", name)
    ]

    assert len(names) == 5
    assert len(given) > 5
    assert absent(LIGHTNING, [*names, *given, "interval", "frequency", "strict", "logging_interval"]) == []
