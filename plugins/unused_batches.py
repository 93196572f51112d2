"""Warn if a loop reports no batches or weight updates, but a plugin counts them."""

from __future__ import annotations

from trainbus import LoopError, Run


def report_uncounted(run: Run, plugin: object, lost: str, *, steps: bool) -> bool:
    """Report that the first epoch had no batches or steps, so that a plugin that counts them would never act.

    Call this at the end of the first epoch. A resumed run may continue after the last batch of its epoch.

    Args:
        run: The run.
        plugin: The plugin.
        lost: What is missing, in a few words.
        steps: Whether it counts weight updates, not only batches.

    Returns:
        Whether it was reported.
    """
    if run.resumed is not None:
        return False
    if not run.state.counters.current_trained_batches:
        run.report_failure(plugin, lost, LoopError(_no_batch(run)))
        return True
    return steps and report_no_updates(run, plugin, lost)


def report_no_updates(run: Run, plugin: object, lost: str) -> bool:
    """Report that the first epoch had no weight updates, whether it has reported batches or not.

    The arguments and the result are those of ``report_uncounted``.
    """
    if run.resumed is not None or run.step:
        return False
    problem = (
        f"epoch {run.epoch + 1} had no weight update: pass the right accumulate= to run.batches(), or set run.step"
    )
    if not run.state.counters.current_trained_batches:
        problem = f"{_no_batch(run)}, or set run.step"
    run.report_failure(plugin, lost, LoopError(problem))
    return True


def _no_batch(run: Run) -> str:
    return (
        f"epoch {run.epoch + 1} had no batch: loop over run.batches(loader), or call run.begin_batch() and "
        "run.end_batch()"
    )
