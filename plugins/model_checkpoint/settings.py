"""The options of ModelCheckpoint."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Discriminator,
    Field,
    PositiveInt,
    Tag,
    ValidationInfo,
    WithJsonSchema,
    field_serializer,
    field_validator,
)

from trainbus import MonitoredCallback
from trainbus.callback import Mode, PathText
from trainbus.capabilities import Saveable, Sharded
from trainbus.checkpoints.names.filename_template import (
    check_template,
    sibling_template,
    suffix_in,
    template_fields,
    with_suffix,
)
from trainbus.storage.paths import location

from ..comparison.tie_breaker import check_tie_breaker, check_tie_breaker_mode
from ..frequency import check_frequency
from .content import check_content, name_of, portable
from .fixed_names import Moment, check_last, check_moments, check_parts, names_of
from .part_field import check_part_field, in_parts
from .run_field import check_run_field


def _check_location(path: str) -> str:
    location(path)  # refuses malformed URLs
    if os.path.basename(path) in ("", ".", ".."):  # noqa: PTH119 - it may be a URL
        raise ValueError(f"{path!r} names a directory; add the name of a file, as in 'run/m-{{epoch}}'")
    return path


class CheckpointSettings(MonitoredCallback):
    """The options of ``ModelCheckpoint``, which adds their effect on a run."""

    elsewhere: ClassVar[Mapping[str, str]] = {
        "atomic": "nothing: every file is complete or absent",
        "auto_insert_metric_name": 'the names into filepath, as in "epoch={epoch}"',
        "backup_dir": 'the directory into filepath, and Run(resume="auto")',
        "checkpoint": 'Run(resume="auto")',
        "create_dir": "nothing: directories are made",
        "delete_checkpoint": "nothing: a run that resumes replaces the files",
        "dirname": "the directory into filepath",
        "dirpath": "the directory into filepath",
        "double_checkpoint": "nothing: the previous file stays until the new one is complete",
        "enable_jit_checkpoint": 'save_on=("signal",), its default',
        "enable_version_counter": 'existing="version" or existing="replace"',
        "event_name": "nothing: run.result.checkpoints lists what was saved",
        "every_n_epochs": 'save_freq, as in save_freq="2 epochs"',
        "every_n_train_steps": 'save_freq, as in save_freq="500 steps"',
        "f_criterion": "content, for what the subject does not save",
        "f_history": "filepath: one file has model, optimizer and history",
        "f_optimizer": "filepath: one file has model, optimizer and history",
        "f_params": "filepath",
        "f_pickle": "content, for what the subject does not save",
        "filename": "the name into filepath",
        "filename_pattern": "filepath",
        "filename_prefix": "the prefix into filepath",
        "fn_prefix": "the prefix into filepath",
        "global_step_transform": "{step} or {epoch} into filepath",
        "greater_is_better": 'mode="max" or mode="min"',
        "greater_or_equal": 'ties="newer"',
        "include_self": "nothing: the state of every callback is saved",
        "load_best": "EarlyStopping(restore_best_weights=True)",
        "load_best_model_at_end": "EarlyStopping(restore_best_weights=True)",
        "max_to_keep": "keep_last, or keep for the best ones",
        "metric_for_best_model": "monitor",
        "n_saved": "keep for the best ones, or keep_last",
        "period": 'save_freq, as in save_freq="2 epochs"',
        "require_empty": 'existing="refuse"',
        "save_handler": "the directory into filepath",
        "save_interval": 'save_freq, as in save_freq="500 steps"',
        "save_on_exception": 'save_on=("signal", "exception")',
        "save_on_rank": "nothing: one rank writes what all ranks share",
        "save_on_train_epoch_end": 'save_freq="epoch" or save_freq="validation"',
        "save_only_model": "save_weights_only",
        "save_steps": 'save_freq, as in save_freq="500 steps"',
        "save_strategy": 'save_freq="epoch", save_freq="500 steps" or save_best_only=True',
        "save_top_k": "keep",
        "save_total_limit": "keep_last",
        "score_function": "monitor, with mode",
        "score_name": "monitor",
        "sink": 'verbose, or on_error="warn"',
        "to_save": "nothing: the subject of the run is saved; or content",
        "top_k": "keep",
        "train_time_interval": 'save_freq, as in save_freq="10 minutes"',
        "use_safetensors": 'save_weights_only=True and ".safetensors" into filepath',
    }

    filepath: Annotated[
        PathText,
        AfterValidator(_check_location),
        AfterValidator(check_part_field),
        AfterValidator(check_template),
        AfterValidator(check_run_field),
    ] = Field(kw_only=False)
    """Path or URL of the file. Without a suffix it gets the framework's own; one that names no format, such as ".ckpt",
    is kept, and the file has the framework's format. Fields in braces are filled in: {epoch} and {batch}, counted from
    1, where the batch at the end of an epoch is its last; {step}, the number of weight updates; and every metric, as in
    "m-{epoch:02d}-{val_loss:.4f}". A metric's name may contain any character except braces, as in
    "{val/mAP@0.50:.2f}"; the text after the last colon is the number format. A value that does not fit it, such as a
    fraction for ":03d", is reported once, and the name has it without a format. Values cannot change the directory that
    the path names. {run} in the directory, as in "runs/{run}/m-{epoch}", is the id of the run (``Run(run_id=...)``), so
    that parallel runs have a directory each. {part} in the name, as in "run/{part}-{epoch}", writes a file of each of
    several models, such as "netG" and "netD"; all files of a save are committed and deleted together."""
    save_best_only: bool = False
    """Whether to save a model only if its monitored metric is better than all before it."""
    save_weights_only: bool = False
    """Whether to save the weights without the optimizer."""
    save_freq: Annotated[int | str, BeforeValidator(check_frequency)] = "epoch"
    """ "epoch", "validation", or the number of batches between two saves, counted across epochs. Or text: "2 epochs"
    saves at the end of every epoch whose number is a multiple of 2, "2 epochs from 0" where this number is counted from
    0; "500 steps" at the end of the batch in which the
    number of weight updates reaches a multiple of 500; "30 seconds", "10 minutes", "2 hours" or a ``timedelta`` at the
    end of the first batch that ends so long after the previous save; "10%" at each tenth of the planned epochs.
    "validation" saves at the end of the batch, or else of the epoch, in which a validation was; "3 validations" in
    which every third of the run was. A save that needs a new
    value of the metric waits for it."""
    initial_value_threshold: float | None = None
    """Initial best value for ``save_best_only``: a model is saved only if its value is better."""
    keep: PositiveInt | None = None
    """Number of files to keep with the best values of the monitored metric; of equal values, the earlier is better. A
    model that is not among them is not saved.
    """
    ties: Literal["older", "newer"] = "older"
    """Which of equal values is the better one, for ``save_best_only`` and ``keep``."""
    tie_breaker: Annotated[str | None, AfterValidator(check_tie_breaker)] = None
    """Name of a second metric: of equal values, the one with the better second value is better."""
    tie_breaker_mode: Annotated[Mode, AfterValidator(check_tie_breaker_mode)] = "auto"
    """Whether lower ("min") or higher ("max") values of ``tie_breaker`` are better."""
    keep_last: PositiveInt | None = None
    """Number of most recent files to keep, regardless of their metric."""
    save_last: Annotated[bool | str, BeforeValidator(check_last)] = False
    """Whether to also write every model to the file "last" in the directory of ``filepath``, with its suffix, even if
    ``save_best_only`` or ``keep`` leaves it out. A name of your own, also with fields, as in "last-{epoch}": the
    previous such file is deleted after the new one is complete. "link" makes "last" a relative symbolic link to the
    newest file of ``filepath``."""
    save_on: Annotated[
        Annotated[tuple[Moment, ...], Tag("[moments]")] | Annotated[dict[Moment, str], Tag("[names]")],
        Discriminator(lambda given: "[names]" if isinstance(given, Mapping) else "[moments]"),
        BeforeValidator(check_moments),
        Field(validate_default=True),
    ] = ("signal",)
    """Also save at the end of training, to the file "end"; if an exception ended it, or one was raised at its end,
    to the file "exception"; if a signal (such as Ctrl-C) or a stop file ended it, to the file "signal". These files are
    in the same directory as "last" and separate from all others, so a bad model never overwrites a good one. They hold
    the final model, before other callbacks restore weights. The file "signal" is removed when a run that resumed from
    it ends. A mapping gives names of your own, also with fields: {"end": "final", "signal": "sig-{step}"}."""

    content: Annotated[
        Callable[[Any], Any] | None, BeforeValidator(check_content), WithJsonSchema({"type": "null"})
    ] = None
    """A function of the run that returns what each file holds, in your own layout, as in
    ``lambda run: {"net": net.state_dict(), "acc": run.metrics["val_acc"]}``. A second file beside it then has the
    training state, so that a run resumes from it as from any other. If it fails, the files of ``save_on`` have the
    training state alone, and any other file is not written: see ``on_error``. None saves the training state itself."""

    existing: Literal["replace", "refuse", "version"] = "replace"
    """What a run that is not resumed does if the directory holds checkpoints of an earlier run, or other files to whose
    paths it may save: "replace" reports it in one line, and replaces those whose names occur again; "refuse" ends the
    run before it trains; "version" saves to the next of the subdirectories "version_1", "version_2" and so on, of which
    ``resume="auto"`` finds the newest."""
    on_error: Literal["raise", "warn"] = "raise"
    """What happens if a file cannot be written, for any reason: "raise" ends the run, "warn" logs a warning and
    continues. In both cases the previous file stays complete, and the next better model is saved.
    """

    @field_validator("ties", "tie_breaker")
    @classmethod
    def _check_compares(cls, value: str | None, info: ValidationInfo) -> str | None:
        data, option = info.data, info.field_name
        if value in (None, "older") or {"save_best_only", "keep"} - data.keys():
            return value
        if not (data["save_best_only"] or data["keep"]):
            raise ValueError(
                f"models are compared only with save_best_only=True or keep; set one, or leave {option} out"
            )
        return value

    @field_validator("initial_value_threshold")
    @classmethod
    def _check_threshold(cls, value: float | None, info: ValidationInfo) -> float | None:
        if value is not None and info.data.get("save_best_only") is False:
            raise ValueError(
                "only save_best_only=True compares a model with it; set save_best_only=True, or leave "
                "initial_value_threshold out"
            )
        return value

    @field_validator("keep", "keep_last")
    @classmethod
    def _check_distinct_names(cls, value: int | None, info: ValidationInfo) -> int | None:
        template: str | None = info.data.get("filepath")
        fields = {*template_fields(template)} - {"run", "part"} if template else set[str]()
        if value and template and value + (info.data.get("keep") or 0) > 1 and not fields:
            raise ValueError(
                f"filepath={template!r} gives every checkpoint the same name; put {{epoch}} or {{step}} into it"
            )
        return value

    @field_validator("save_last", "save_on")
    @classmethod
    def _check_fixed_names(cls, value: Any, info: ValidationInfo) -> Any:
        template: str | None = info.data.get("filepath")
        last = info.field_name == "save_last"
        parts = in_parts(template or "")
        names = names_of(value if last else info.data.get("save_last") or False, () if last else value, parts=parts)
        taken = {template: "filepath itself"} if template else {}
        for key, name in names.items():
            check_parts(name, template or name)
            path = sibling_template(template or "", name, suffix_in(template or ""))
            if path in taken:
                what = f"{taken[path]}; give {'filepath' if path == template else 'one of them'} another name"
                raise ValueError(f"this would write {path!r}, which is {what}")
            taken[path] = f"also the file of {key!r}"
        return value

    background: bool | None = None
    """Whether to write files in the background: the training waits only for a copy of the state, and for the previous
    save if it is not finished. None means True if the subject supports it; False waits for the disk.
    """

    @field_validator("content")
    @classmethod
    def _check_content(cls, value: Any, info: ValidationInfo) -> Any:
        if value is not None and info.data.get("save_weights_only"):
            raise ValueError("content= and save_weights_only=True contradict each other; leave one of them out")
        if value is not None and in_parts(info.data.get("filepath", "")):
            raise ValueError(
                "content= and {part} in filepath contradict each other: content= is what one file holds; leave one of "
                "them out"
            )
        return value

    @field_serializer("content")
    def _name_content(self, value: Any) -> str | None:
        return None if value is None else name_of(value)

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any]) -> Self:
        """Return the callback without ``content``, of which only the name is known, and which changes no decision."""
        return super().from_settings({name: value for name, value in settings.items() if name != "content"})

    def __getstate__(self) -> dict[Any, Any]:
        state = super().__getstate__()
        return {**state, "__dict__": {**state["__dict__"], "content": portable(self.content)}}

    def file_content(self) -> Callable[[Any], Any] | None:
        """Return ``content``."""
        return self.content

    def monitors(self) -> bool:
        """Return whether the metric is used, to select the best models."""
        return self.save_best_only or self.keep is not None

    def fixed_paths(self) -> dict[str, str]:
        """Return the templates of "last" and of the files of ``save_on``; without a suffix if ``filepath`` has none."""
        suffix = suffix_in(self.filepath)
        return {key: sibling_template(self.filepath, name, suffix) for key, name in self.fixed_names().items()}

    def fixed_names(self) -> dict[str, str]:
        """Return the names of these files, by "last" and the moments of ``save_on``."""
        return names_of(self.save_last, self.save_on, parts=in_parts(self.filepath))

    def __hash__(self) -> int:
        return hash(self.model_dump_json())

    def template_for(self, subject: Saveable) -> str:
        """Return the template with its suffix, or with the subject's own if it has none.

        Raises:
            SettingsError: The suffix names a format in which the subject cannot be saved with these options.
        """
        only = self.save_weights_only
        suffixes, others = subject.suffixes(weights_only=only), subject.suffixes(weights_only=not only)
        in_parts = isinstance(subject, Sharded) and subject.saves_sharded(suffixes[0])
        how = f"with save_weights_only={not only}"
        return with_suffix(self.filepath, suffixes, others, how, any_other=not in_parts)

    def suffix_for(self, subject: Saveable) -> str:
        """Return the suffix of all files, as ``template_for`` has it."""
        template = self.template_for(subject)
        suffixes = subject.suffixes(weights_only=self.save_weights_only)
        return suffix_in(template) or max((each for each in suffixes if template.endswith(each)), key=len)
