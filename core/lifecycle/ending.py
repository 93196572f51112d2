"""The end of a run: what is decided, written and closed last, and in which order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial

from ..decision import NOTHING, Decision
from ..engine.execution_result import ExecutionResult
from .parts import Parts

Record = Callable[[ExecutionResult], object]
"""Records and announces what the run has executed."""


class Ending:
    """Ends a run: every plugin is called, their last decision is executed, all files are written, all is closed.

    Args:
        parts: The parts of the run.
    """

    def __init__(self, parts: Parts) -> None:
        self.state, self.group, self.bus, self.executor = parts.state, parts.group, parts.bus, parts.executor
        self.stop_requests, self.resumer, self.ends = parts.stop_requests, parts.resumer, parts.ends
        self.collector, self.rates = parts.collector, parts.rates
        self._trains = False
        self.locks = ExitStack()
        """The locks of the run's directories."""
        self.closed = ExitStack()
        """Everything that is closed at the end of the run."""

    def train(self, record: Record) -> None:
        """Note, when an epoch begins, that the run trains: the records of an earlier end are removed."""
        if not self._trains:
            self._trains = True
            self.group.bind("remove_ends", self.ends.remove)()
            record(self.resumer.end_decision())

    def end(self, run: object, error: BaseException | None, record: Record, close_loop: Callable[[], object]) -> bool:
        """End the run.

        Args:
            run: The run, which the hooks receive.
            error: The exception that has ended the loop.
            record: Called with what is executed.
            close_loop: Closes the loop over batches that an error has left.

        Returns:
            Whether ``error`` need not be raised: it was raised for a signal that the user's own handler has handled, or
            for a request to end without an exception.
        """
        state, executor, stop_requests = self.state, self.executor, self.stop_requests
        over, raised = False, error
        if stop_requests.ends_quietly(error):
            error = None
        with ExitStack() as last, self.locks:  # directories are unlocked even if this is interrupted
            last.callback(stop_requests.close)
            with self.closed:
                with self.group.end(error, executor) as state.error:
                    errors, over = self._act(run, error, record)
                # a file that was being written, or whose directory was removed, may not exist
                if errors or state.error is not None or executor.removed:
                    state.files.replace(executor.existing(state.files))
            if over:  # the plugins have closed their files, so that no run counts as over that is not complete
                self.group.bind("write_ends", self._write_ends)()
        close_loop()
        self.rates.end_epoch()  # of an epoch that was left
        for more in errors if error is not None else errors[1:]:
            (error or errors[0]).add_note(f"at the end of the run also: {type(more).__name__}: {more}")
        handled = stop_requests.exit(raised, [*errors, *([error] if isinstance(error, Exception) else [])])
        if errors and (error is None or handled):
            raise errors[0]
        return handled

    def _act(self, run: object, error: BaseException | None, record: Record) -> tuple[list[Exception], bool]:
        """Execute the last decision of the plugins; return what was raised, and whether the run is finished."""
        state = self.state
        requested = self._end_by_request(run, record) if state.interrupted else []
        if isinstance(error, KeyboardInterrupt) and state.requested and not state.interrupted:
            self.executor.writer.abandon()  # a second signal
        decision, errors = self.group.bind("last_decision", self._decide_last)(run)
        errors[:0] = requested
        known = state.error is not None and not state.interrupted
        if errors and not known:
            known, decision = True, self._fail(run, errors, decision)
        if error is None and isinstance(state.error, Exception):
            errors.insert(0, state.error)
        try:
            self._finish(decision, record)
            return errors, self._is_over(errors)
        except Exception as raised:  # noqa: BLE001 - raised when the run has ended
            errors.append(raised)
        if not known:
            try:
                self._finish(self._fail(run, errors, NOTHING), record)
            except Exception as again:  # noqa: BLE001 - the same
                errors.append(again)
        return errors, False

    def _end_by_request(self, run: object, record: Record) -> list[Exception]:
        """Record the request that ends the run, after the files of earlier decisions; return what these have raised.

        A resumed run voids everything that follows the request in the journal.
        """
        errors = list[Exception]()
        try:
            record(self.group.bind("last_files", partial(self.executor.collect, wait=True))())
        except Exception as raised:  # noqa: BLE001 - raised when the run has ended
            errors.append(raised)
        except BaseException:  # a second signal
            record(ExecutionResult(self.stop_requests.decision()))
            self.bus.end(run, self.state.error)
            raise
        record(ExecutionResult(self.stop_requests.decision()))
        return errors

    def _decide_last(self, run: object) -> tuple[Decision, list[Exception]]:
        """Return the decision of the plugins at the run's end, without saves that an earlier process has made."""
        decision, errors = self.bus.end(run, self.state.error)
        return Decision(decision.actions - self.resumer.saved_at_end), errors

    def _fail(self, run: object, errors: list[Exception], decision: Decision) -> Decision:
        """Return the last decision with what plugins decide about an error that was raised at the end of the run."""
        decision, more = self.group.bind("decision_about_error", self.bus.fail)(run, errors[0], decision)
        errors += more
        return decision

    def _finish(self, decision: Decision, record: Record) -> None:
        """Execute the last decision, of which an earlier process may have begun a part, and wait for all files."""
        bind, executor = self.group.bind, self.executor
        begun = self.resumer.end_decision()
        result = self.group.execute(decision, executor, record) if decision else ExecutionResult()
        record(
            ExecutionResult(begun.done | result.done, begun.committed + result.committed, begun.failed + result.failed)
        )
        record(bind("last_files", partial(executor.collect, wait=True))())
        bind("prune_snapshots", partial(executor.prune_snapshots, over=True))()

    def _is_over(self, errors: Sequence[Exception]) -> bool:
        """Return whether the run is finished: it ended as planned or by a decision, so a resume does not train it."""
        state = self.state
        if errors or state.error is not None or state.interrupted or state.left:
            return False
        done = bool(state.plan.total) and state.plan.is_done(state.epochs_finished, state.step)
        return done or state.decided_to_stop

    def _write_ends(self) -> None:
        if self._trains or not self.resumer.end_is_recorded:
            self.ends.write(self.collector.end_record(), map(self.executor.writer.start.fixed, self.state.files))
