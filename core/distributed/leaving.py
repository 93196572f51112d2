"""How a run is asked to end before its loop does, and where it obeys."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ..decision import REQUEST, Decision, Stop
from ..engine.continuation import Continuation
from ..engine.signals import DEFAULT, Signals
from ..engine.stop_file import StopFile
from ..storage.paths import Source
from .coordinated_stop import CoordinatedStop

__all__ = ["Leaving"]


class Leaving(Continuation):
    """A run that signals, files and, where there are several, each of its ranks may ask to end.

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
        resume: Source | None = None,
        resume_strict: bool = False,
        signals: Iterable[str] = DEFAULT,
    ) -> None:
        super().__init__(subject, resume=resume, resume_strict=resume_strict)
        self._listens_to = (signals,) if isinstance(signals, str) else tuple(signals)
        self._signals: Signals | None = None
        self._stop_file: StopFile | None = None
        self._departure: CoordinatedStop | None = None

    def obey_request(self) -> None:
        """End the run here, between two batches or epochs, if a signal or a stop file has asked for it.

        Raises:
            KeyboardInterrupt: it has; plugins were told, and what raising this out of the loop ends is in order.
        """
        if not self.requested or self.interrupted or not self._leaves():
            return
        self.interrupted = True
        self._tell_decision(Decision(frozenset(each for each in self.stops if each.by == REQUEST)))
        raise KeyboardInterrupt(self.requested)

    def _leaves(self) -> bool:
        """Whether a loop that is to end ends here: where there are several ranks, all have come to the same batch."""
        return self._departure is None or self._departure.idle or self._departure.reached()

    def _tell_decision(self, decision: Decision) -> None:
        self.decided.append((self.epoch, decision))
        if self._bus.on_decision is not None:
            self._bus.on_decision(self, decision)

    def _request(self, name: str) -> None:
        """Take note that `name` asks for the end: called between any two instructions, or in another thread."""
        if not self.requested:
            if self._departure is not None:
                self._departure.ask({"request": name})
            self.requested = name
            self.stops.append(Stop(reason=f"{name} asked for it", by=REQUEST))

    def _hear(self, what: Mapping[str, str]) -> None:
        """Take note that some rank asks all to leave: called in whatever thread."""
        if "request" in what:
            if self._signals is not None:
                self._signals.came_elsewhere(what["request"])
            self._request(what["request"])
        elif (stop := Stop(reason=what["stop"], by="loop")) not in self.stops:
            self.stops.append(stop)

    def _place(self) -> list[int]:
        """Where the loop over batches stands, as numbers that only grow; may be called in whatever thread."""
        while True:
            try:
                return [self.epoch, self._loops, self._counters.present_done]
            except IndexError:  # a loop was left at this very moment
                continue
