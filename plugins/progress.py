"""temporary"""

from trainbus import hookimpl


class Progress:
    def __init__(self, levels=None, *, bar=True):
        self.levels = levels or {}

    @hookimpl
    def on_decision(self, run, decision):
        for a in decision:
            print(f"Epoch {run.epoch + 1}: {a}")
