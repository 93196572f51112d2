"""How a run carries out what is decided: alone, or as one of several processes that decide as one."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeVar, cast

from .agreement import Agreement, Meeting, Point, Verdict, told, words_of
from .bus import Outcome, unfinished
from .callback import Callback
from .capabilities import HasLearningRate, HasRanks, missing
from .checkpoints import Checkpoint, Content, glance
from .decision import NOTHING, Decision, Forget, Restore, Save, Stop
from .departure import Departure
from .dispatch import CompiledHook
from .errors import CheckpointError, RankError, SettingsError
from .failures import observes
from .leaving import Leaving
from .memory import Share, action_from_plain, action_to_plain, share_of
from .metrics import Means
from .reduction import Reduction
from .signals import DEFAULT
from .writer import Unwritten

__all__ = ["Together"]

T = TypeVar("T")

BATCHES = frozenset({"on_batch_begin", "on_batch_end"})
MEASURED = frozenset({"on_batch_end", "on_validation_end"})
"""Hooks that need a meeting of their own for the metrics; at the end of an epoch there is one in any case."""
UNDECIDED = frozenset({"on_decision", "on_checkpoint", "on_checkpoint_error", "on_exception", "on_train_end"})
"""Hooks at which nothing is decided, or only at the very end."""


class Together(Leaving):
    """A run that may be trained by several processes, its ranks.

    Every rank tells every plugin that decides the same events with the same metrics. What rank 0's decide is sent to
    all, and all carry it out at once; rank 0 alone writes files, and has plugins that only observe. Whatever fails on
    one rank is raised on all. Where there is one process nothing of this happens.

    Args:
        subject: what is trained.
        resume: as in `Run`.
        resume_strict: as in `Run`.
        signals: as in `Run`.
    """

    def __init__(
        self,
        subject: object,
        *,
        resume: str | os.PathLike[str] | None = None,
        resume_strict: bool = False,
        signals: Iterable[str] = DEFAULT,
    ) -> None:
        super().__init__(subject, resume=resume, resume_strict=resume_strict, signals=signals)
        self._agreement: Agreement | None = None
        self._verdict: BaseException | None = None
        self._held: Exception | None = None
        """What this rank has failed by, and tells when the ranks meet next."""
        self._proposed = self._heeded = NOTHING  # what loops decide: this one, since the last meeting, and all of them
        self._news = Outcome(NOTHING, [], [])
        self._uneven = False  # whether another rank has no batches any more
        ranks = subject.ranks() if isinstance(subject, HasRanks) and missing(subject, HasRanks) is None else None
        if ranks is not None:
            self.rank, self.world_size = ranks.rank, ranks.size
            self._agreement = Agreement(ranks)
            self._reduction = Reduction(ranks.rank)
            self._departure = Departure(ranks, self._place, self._hear)
            self._bus.through = self._through

    # --- beginning and end

    def begin_loop(self, loader: Iterable[T]) -> tuple[Iterable[T], int]:
        """A loop over the batches of the epoch begins; what to go through, and the number of its first batch."""
        self._uneven = False
        return super().begin_loop(loader)

    def _greet(self) -> None:
        """Meet the other ranks for the first time.

        Raises:
            SettingsError: they list other callbacks.
        """
        if self._agreement is None or self._departure is None:
            return
        deciding = (name for name, plugin in self.plugins.items() if not observes(plugin))
        mine = {name: _settings(self.callbacks.get(name)) for name in deciding}
        first, *others = self._agreement.everywhere(mine)
        for rank, theirs in enumerate(others, start=1):
            if theirs != first:
                raise self._shared(SettingsError(_difference(first, theirs, rank)))
        self._departure.begin()

    def _find(self) -> None:
        """Go on from the checkpoint that rank 0 finds, if it finds one."""
        if self._agreement is None:
            self._take(self._look())
            return
        checkpoint, error = None, None
        if self.rank == 0:
            try:
                checkpoint = self._look()
            except Exception as raised:  # noqa: BLE001 - raised on every rank
                error = raised
        found = [] if checkpoint is None else [str(checkpoint.path), checkpoint.content.digest]
        found = self._agreed(found, error)
        if found:
            with self._sharing():
                self._take(checkpoint or self._same_file(*found))

    def _same_file(self, path: str, digest: str) -> Checkpoint:
        checkpoint = glance(Path(path))
        if checkpoint.content.digest != digest:
            raise CheckpointError(f"{path!r} is not the file that rank 0 has there; let every rank see the same files")
        return checkpoint

    def _carry_over(self) -> None:
        """Let plugins know again what they knew, and carry what was decided last to its end."""
        resumption = self._resumption
        if resumption is None:
            return
        decision = resumption.decision()
        left, committed = decision, list[Checkpoint]()
        with self._sharing():
            self._recall()
            if self.rank == 0:
                left, committed = unfinished(decision, resumption.checkpoint)
        if self._agreement is not None:
            plain = self._agreed(_outcome_to_plain(Outcome(left, committed, [])), None)
            left, committed, _ = _outcome_from_plain(plain)
        outcome = self._done(left)
        done = Decision(decision.actions - (left.actions - outcome.done.actions))
        self._tell_of(Outcome(done, [*committed, *outcome.committed], outcome.unwritten))

    def _arrive(self, error: BaseException | None) -> BaseException | None:
        """Come to the end, with all ranks or, where this one alone has failed, apart; what ends the run."""
        if self._agreement is None:
            return error
        if error is not None and not self.interrupted and error is not self._verdict:
            self._part(error)
            return error
        try:
            met = self._meet("on_train_end", error=None if self.interrupted else error)
        except RankError as lost:
            self._part(lost)
            return error or lost
        assert met is not None
        return error or (RankError(told(met.failed)) if met.failed else None)

    def _part(self, error: BaseException) -> None:
        """Exchange nothing any more, and let the others know why; or learn from the others why this one has failed."""
        assert self._agreement is not None
        ranks, self._agreement, self.shares = self._agreement.ranks, None, []
        if self._departure is not None:
            self._departure.close()
        try:
            if not isinstance(error, RankError):
                left = {rank: ranks.noted(f"left/{rank}") for rank in range(ranks.size)}
                ranks.note(f"left/{self.rank}", words_of(error))
                for rank, why in left.items():
                    if why is not None:
                        error.add_note(f"rank {rank} had left before: {why}")
        except RankError:  # the note would be seen by none
            pass
        self._bus.leave()
        ranks.close()

    def _conclude(self, decision: Decision, errors: list[Exception]) -> None:
        """Carry out what is decided at the very end, and wait for all files; what fails is added to `errors`."""
        if self._agreement is None and self.rank:  # it has parted from rank 0, who writes the files
            return
        try:
            if self._agreement is not None:
                failure = next((each for each in errors if each is not self.error), None)
                met = self._agreement.meet("answer", value=_decision_to_plain(decision), error=failure)
                assert met is not None
                errors += [RankError(told(met.failed))] if met.failed and failure is None else []
                decision = _decision_from_plain(met.value) | self._take_heeded()
            self._carry_out(decision)
            self._tell_of(self._all_written())
        except Exception as failure:  # noqa: BLE001 - it goes on where the run ends
            errors.append(failure)
        if self._agreement is not None and self._departure is not None:
            self._departure.close()
            self._bus.leave()
            self._agreement.ranks.close()

    # --- the same events everywhere

    def _through(self, name: str, hook: CompiledHook) -> CompiledHook:
        """A hook as all ranks tell it; where nobody decides, no rank waits for another."""
        if name in UNDECIDED:
            return hook
        return partial(self._decide if self._bus.decides(name) else self._observe, name, hook)

    def _observe(self, name: str, hook: CompiledHook, run: object, *values: Any) -> None:
        if (answers := hook(run, *values)) is not None:
            self._proposed |= self._bus.decision(name, answers)

    def _decide(self, name: str, hook: CompiledHook, run: object, *values: Any) -> None:
        if name in BATCHES and self._uneven:
            return
        if name in MEASURED:
            means = self._measured(cast("Point", name))
            if means is None:
                return
            values = (*values[:-1], _shown(name, values[-1], self.means, means))
        decision, error, self._held = NOTHING, self._held, None
        try:
            if error is not None:
                raise error
            decision = self._bus.decision(name, hook(run, *values) or ())
        except Exception as raised:  # noqa: BLE001 - raised on every rank
            error = raised
        point = "answer" if name in MEASURED or name == "on_epoch_end" else cast("Point", name)
        met = self._meet(point, value=_decision_to_plain(decision), error=error)
        if met is not None:
            self._carry_out(_decision_from_plain(met.value) | self._take_heeded())

    def _measured(self, point: Point) -> Means | None:
        """The metrics of all ranks; None where other ranks have no such batch."""
        self._reduction.take(self.means)
        row = [float(self.validated), *self._reduction.row()]
        error = None
        if point == "on_epoch_end":
            try:
                self._news = self._bus.written(wait=False)
            except Exception as raised:  # noqa: BLE001 - raised on every rank
                error = raised
        met = self._meet(point, row=row, layout=self._reduction.layout, error=error)
        if met is None:
            return None
        row, agreement = met.row, self._agreement
        assert agreement is not None
        if not met.alike:
            self._reduction.agree(agreement.everywhere(self._reduction.layout))
            row = agreement.sum([float(self.validated), *self._reduction.row()])
        candidates = self._reduction.candidates()
        chosen = agreement.maximum(candidates) if candidates else []
        self.validated = row[0] > 0
        return self._reduction.means(row[1:], chosen)

    def _means_of_all(self) -> Mapping[str, Any]:
        """The metrics of the epoch that is over."""
        if self._agreement is None:
            return self.means.read()
        means = self._measured("on_epoch_end")
        assert means is not None
        return means.read()

    def _watch_for_all(self) -> None:
        """Let watched metrics see the epoch that is over; what they miss is raised on every rank."""
        try:
            self._watch()
        except SettingsError as error:
            if self._agreement is None or not self._bus.decides("on_epoch_end"):
                raise
            self._held = error

    def _written(self) -> Outcome:
        """What became of the files that were being written, as far as it is known."""
        if self._agreement is None:
            return self._bus.written(wait=False)
        news, self._news = self._news, Outcome(NOTHING, [], [])
        return news

    def _all_written(self) -> Outcome:
        """What became of the files that are being written; waits for it."""
        if self._agreement is None:
            return self._bus.written(wait=True)
        outcome, error = Outcome(NOTHING, [], []), None
        try:
            outcome = self._bus.written(wait=True)  # nothing but on rank 0
        except Exception as raised:  # noqa: BLE001 - raised on every rank
            error = raised
        plain = self._agreed(_outcome_to_plain(outcome), error)
        return outcome if self.rank == 0 else _outcome_from_plain(plain)

    # --- what is decided

    def _propose(self, decision: Decision) -> None:
        """Carry out what the loop itself decides; where there are several ranks, when they meet next."""
        if self._departure is None:
            self._carry_out(decision)
            return
        self._proposed |= decision
        for action in decision:
            if isinstance(action, Stop):
                self._departure.ask({"stop": action.reason})
                self.stops.append(action)

    def _carry_out(self, decision: Decision) -> None:
        """Carry out what is decided, on every rank, and tell what became of it."""
        self._tell_of(self._done(decision))

    def _done(self, decision: Decision) -> Outcome:
        if self._agreement is None:
            return self._bus.carry_out(decision, self)
        outcome, error, actions = Outcome(decision, [], []), None, decision.actions
        if all(isinstance(action, Stop) for action in actions):
            return outcome
        if any(isinstance(action, Save) for action in actions):
            shares = self._agreement.gather(share_of(self).model_dump())
            self.shares = [Share.model_validate(share) for share in shares[1:]]
        try:
            if self.rank == 0:
                outcome = self._bus.carry_out(decision, self)
            else:
                self._bus.accompany(decision, self)
        except Exception as raised:  # noqa: BLE001 - raised on every rank
            error = raised
        plain = self._agreed(_outcome_to_plain(outcome), error)
        if any(isinstance(action, (Restore, Forget)) for action in actions):
            with self._sharing():
                if self.rank:
                    self._bus.follow(decision)
        return outcome if self.rank == 0 else _outcome_from_plain(plain)

    def _tell_of(self, outcome: Outcome) -> None:
        """Tell what became of a decision; what that makes a plugin raise is raised on every rank."""
        if self._agreement is None:
            self._tell_outcome(outcome)
            return
        if outcome.done.stops and self._departure is not None:
            self._departure.settle()
        told_of = {"on_decision": outcome.done, "on_checkpoint": outcome.committed, "on_checkpoint_error": outcome[2]}
        if any(there and self._bus.decides(hook) for hook, there in told_of.items()):
            with self._sharing():
                self._tell_outcome(outcome)
        else:
            self._tell_outcome(outcome)

    def _tell_outcome(self, outcome: Outcome) -> None:
        done, committed, unwritten = outcome
        saved = [Path(action.path) for action in done if isinstance(action, Save)]
        for path in (*saved, *(Path(action.source) for action in done if isinstance(action, Forget))):
            self._files.pop(path, None)
        self._files |= dict.fromkeys(saved)  # at the end, also those that were there before
        for checkpoint in committed:
            self.checkpoints.append(checkpoint)
            if self._bus.on_checkpoint is not None:
                self._bus.on_checkpoint(self, checkpoint)
        for path, step, error in unwritten:
            if not path.exists():
                self._files.pop(path, None)
            if self._bus.on_checkpoint_error is not None:
                self._bus.on_checkpoint_error(self, path, step, error)
        self.stops += [action for action in done if isinstance(action, Stop) and action not in self.stops]
        if done and self._bus.on_decision is not None:
            self._bus.on_decision(self, done)

    # --- meetings

    def _meet(self, point: Point, **said: Any) -> Meeting | None:
        """Meet the other ranks; None where they have no such batch any more.

        Raises:
            Exception: what this rank says that it has failed by.
            RankError: another rank has failed, has left, or is gone.
            KeyboardInterrupt: the others have left since they were asked to.
        """
        assert self._agreement is not None
        proposed, aside = self._proposed, self._aside(point)
        try:
            met = self._agreement.meet(point, self._common(point), aside=aside, **said)
        except Verdict as verdict:
            self._heed(verdict.asides)
            self.obey_request()
            raise self._shared(RankError(str(verdict))) from None
        if met is None:
            self._uneven = True
            return None
        if met.failed and point != "on_train_end":
            raise self._shared(said.get("error") or RankError(told(met.failed)))
        self._proposed = NOTHING if proposed is self._proposed else self._proposed
        self._heed(met.asides)
        return met

    def _agreed(self, value: Any, error: BaseException | None) -> Any:
        """Rank 0's value on every rank, or an error on every rank."""
        met = self._meet("answer", value=value, error=error)
        assert met is not None
        return met.value

    @contextmanager
    def _sharing(self) -> Generator[None]:
        """What is raised inside on any rank is raised on all."""
        if self._agreement is None:
            yield
            return
        error: Exception | None = None
        try:
            yield
        except Exception as raised:  # noqa: BLE001 - raised on every rank
            error = raised
        self._agreed(None, error)

    def _shared(self, error: BaseException) -> BaseException:
        """An error that is raised on every rank."""
        self._verdict = error
        return error

    def _common(self, point: Point) -> Any:
        """What must be the same on all ranks at a point."""
        if point in BATCHES:
            return {"epoch": self.epoch, "loop": self._loops, "batch": self._counters.present_batch}
        if point in ("on_epoch_begin", "on_epoch_end"):
            return {"epoch": self.epoch, **self._learning_rates()}
        return None

    def _aside(self, point: Point) -> dict[str, Any]:
        """What this rank has to say besides."""
        said: dict[str, Any] = {}
        if self.requested:
            said["requested"] = self.requested
        if self._proposed:
            said["decision"] = _decision_to_plain(self._proposed)
        if self.rank == 0 and point == "on_epoch_end" and any(self._news):
            said["news"] = _outcome_to_plain(self._news)
        return said

    def _heed(self, asides: Sequence[Mapping[str, Any]]) -> None:
        for aside in asides:
            if aside.get("requested"):
                self._hear({"request": aside["requested"]})
                if self._departure is not None:
                    self._departure.settle()
            self._heeded |= _decision_from_plain(aside.get("decision", ()))
            if "news" in aside and self.rank:
                self._news = _outcome_from_plain(aside["news"])

    def _carry_out_heeded(self) -> None:
        """Carry out what loops have decided, where no plugin's decision has taken it along."""
        if self._heeded:
            self._carry_out(self._take_heeded())

    def _take_heeded(self) -> Decision:
        heeded, self._heeded = self._heeded, NOTHING
        return heeded

    # --- inner workings

    def _learning_rates(self) -> Mapping[str, float]:
        return self.subject.learning_rates() if isinstance(self.subject, HasLearningRate) else {}


def _shown(name: str, given: Any, own: Means, all_ranks: Means) -> Any:
    """The metrics of all ranks, in the place of this one's."""
    if name == "on_validation_end":
        return {**given, **{metric: all_ranks[metric] for metric in all_ranks if metric.startswith("val_")}}
    return all_ranks if given is own else given


def _settings(callback: Callback | None) -> dict[str, Any]:
    return {} if callback is None else callback.settings()


def _difference(first: Mapping[str, Any], other: Mapping[str, Any], rank: int) -> str:
    """In words, what a rank lists otherwise than rank 0."""
    same = "list the same callbacks on every rank; rank 0 alone writes files"
    for name in [*first, *other]:
        if name not in other or name not in first:
            return f"{name} is listed on {'rank 0' if name in first else f'rank {rank}'} only; {same}"
        for option in {**first[name], **other[name]}:
            one, two = first[name].get(option), other[name].get(option)
            if one != two:
                return f"{name} has {option}={one!r} on rank 0 and {two!r} on rank {rank}; {same}"
    return f"rank {rank} lists other callbacks than rank 0; {same}"


def _decision_to_plain(decision: Decision) -> list[dict[str, Any]]:
    return [action_to_plain(action) for action in decision]


def _decision_from_plain(plain: Iterable[Mapping[str, Any]]) -> Decision:
    return Decision(frozenset(action_from_plain(action) for action in plain))


def _outcome_to_plain(outcome: Outcome) -> dict[str, Any]:
    """What ranks tell each other: without what checkpoints remember, which can be much."""
    return {
        "done": _decision_to_plain(outcome.done),
        "committed": [
            [str(path), content.model_dump(mode="json", exclude={"memory"})]
            for path, content in ((each.path, each.content) for each in outcome.committed)
        ],
        "unwritten": [[str(path), step, str(error)] for path, step, error in outcome.unwritten],
    }


def _outcome_from_plain(plain: Mapping[str, Any]) -> Outcome:
    return Outcome(
        _decision_from_plain(plain["done"]),
        [Checkpoint(path=Path(path), content=Content.model_validate(each)) for path, each in plain["committed"]],
        [Unwritten(Path(path), step, CheckpointError(words)) for path, step, words in plain["unwritten"]],
    )
