"""How a run comes together with other processes at its beginning, and parts from them at its end."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..callback import Callback
from ..checkpoints import Checkpoint, entries_of, read
from ..decision import Decision
from ..engine.executor import ExecutionResult
from ..errors import CheckpointError, RankError, SettingsError
from ..failures import LOG, is_observer
from ..resume.state import decision_from_json, decision_to_json
from ..resume.unfinished import remaining_actions
from ..storage.paths import Location, location
from ..storage.sharded_directory import VerificationShare
from .outcomes import NO_NEWS, outcome_from_plain, outcome_to_plain
from .rendezvous import describe_error, describe_failures
from .together import Together

__all__ = ["Joining"]


class Joining(Together):
    """A run that begins and ends with the others, if there are any."""

    def _greet(self) -> None:
        """Meet the other ranks for the first time.

        Raises:
            SettingsError: they list other callbacks.
        """
        if self._agreement is None or self._departure is None:
            return
        deciding = (name for name, plugin in self.plugins.items() if not is_observer(plugin))
        mine = {name: _settings(self.callbacks.get(name)) for name in deciding}
        first, *others = self._agreement.everywhere(mine)
        for rank, theirs in enumerate(others, start=1):
            if theirs != first:
                raise self._shared(SettingsError(_difference(first, theirs, rank)))
        self._departure.begin()

    def _find(self) -> None:
        """Go on from the checkpoint that rank 0 finds, if it finds one, and in which none of the ranks finds damage."""
        if self._agreement is None:
            self._take(self._look())
            return
        mine, damaged = VerificationShare(self.rank, self.world_size), list[Location]()
        while True:
            checkpoint, error = None, None
            if self.rank == 0:
                try:
                    checkpoint = self._look(mine, damaged)
                except Exception as raised:  # noqa: BLE001 - raised on every rank
                    error = raised
            found = [] if checkpoint is None else [str(checkpoint.path), checkpoint.entry.digest]
            found = self._agreed(found, error)
            if not found:
                return
            flaw = ""
            with self._sharing():
                try:
                    checkpoint = checkpoint or self._same_file(found[0], found[1], mine)
                except CheckpointError as raised:
                    flaw = str(raised)
            flaws = {rank: each for rank, each in enumerate(self._agreement.everywhere(flaw)) if each}
            if not flaws:
                break
            damaged.append(location(found[0]))
            if self._resume is not None and location(self._resume) == damaged[-1]:
                raise self._shared(CheckpointError(describe_failures(flaws)))
            if self.rank == 0:
                LOG.warning("passed over: %s: %s", found[0], describe_failures(flaws))
        with self._sharing():
            self._take(checkpoint)

    def _same_file(self, path: str, digest: str, mine: VerificationShare) -> Checkpoint:
        known = any(content.digest == digest for content in entries_of(location(path)))
        checkpoint = read(location(path), mine) if known else None
        if checkpoint is None or checkpoint.entry.digest != digest:
            raise SettingsError(f"{path!r} is not the file that rank 0 has there; let every rank see the same files")
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
                left, committed = remaining_actions(decision, resumption.checkpoint)
        if self._agreement is not None:
            plain = self._agreed(outcome_to_plain(ExecutionResult(left, committed, [])), None)
            left, committed, _ = outcome_from_plain(plain)
        outcome = self._done(left)
        done = Decision(decision.actions - (left.actions - outcome.done.actions))
        self._tell_of(ExecutionResult(done, [*committed, *outcome.committed], outcome.unwritten))

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
        return error or (RankError(describe_failures(met.failed)) if met.failed else None)

    def _part(self, error: BaseException) -> None:
        """Exchange nothing any more, and let the others know why; or learn from the others why this one has failed."""
        assert self._agreement is not None
        ranks, self._agreement, self.shares = self._agreement.ranks, None, []
        if self._departure is not None:
            self._departure.close()
        try:
            if not isinstance(error, RankError):
                left = {rank: ranks.noted(f"left/{rank}") for rank in range(ranks.size)}
                ranks.note(f"left/{self.rank}", describe_error(error))
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
                met = self._agreement.meet("answer", value=decision_to_json(decision), error=failure)
                assert met is not None
                errors += [RankError(describe_failures(met.failed))] if met.failed and failure is None else []
                decision = decision_from_json(met.value) | self._take_heeded()
            self._carry_out(decision)
            self._tell_of(self._all_written())
            if self.rank == 0:
                self._bus.tidy()
        except Exception as failure:  # noqa: BLE001 - it goes on where the run ends
            errors.append(failure)
        if self._agreement is not None and self._departure is not None:
            self._departure.close()
            self._bus.leave()
            self._agreement.ranks.close()

    def _all_written(self) -> ExecutionResult:
        """What became of the files that are being written; waits for it."""
        if self._agreement is None:
            return self._bus.written(wait=True)
        outcome, error = NO_NEWS, None
        try:
            outcome = self._bus.written(wait=True)  # nothing but on rank 0
        except Exception as raised:  # noqa: BLE001 - raised on every rank
            error = raised
        plain = self._agreed(outcome_to_plain(outcome), error)
        return outcome if self.rank == 0 else outcome_from_plain(plain)


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
