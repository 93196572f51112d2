"""Strategies of hypothesis that make decisions."""

from hypothesis import strategies as st

from trainbus import Decision, decision
from trainbus.decision import ScaleLearningRate, join

names = st.sampled_from(["a", "b", "best.pt"])
words = st.builds(decision.stop, names) | st.builds(decision.keep, names) | st.builds(decision.restore, names)
words |= st.builds(decision.stop, names, unless_cut=st.just(True))
words |= st.builds(decision.forget, names) | st.builds(decision.save, names, weights_only=st.booleans(), reason=names)
parts = st.just({"netG": "netG.pt", "netD": "netD.pt"})
links = names | st.just({"netG": "newest", "netD": "newest-D"})
words |= st.builds(decision.save, st.sampled_from(["run/netG.pt", "netD.pt"]), parts=parts, link=links)
words |= st.builds(decision.scale_learning_rate, st.sampled_from([0.1, 0.5]), floor=st.sampled_from([0.0, 0.01]))
named = st.dictionaries(st.sampled_from(["learning_rate/0", "learning_rate/body"]), st.floats(0, 1), min_size=1)
words |= st.builds(decision.set_learning_rate, st.floats(0, 1) | named, reason=names)
words |= st.builds(
    decision.scale_learning_rate, st.just(0.5), floor=named, groups=st.sets(names, max_size=2), eps=st.floats(0, 1)
)
decisions = st.lists(words, max_size=4).map(join)

numbers = st.floats() | st.integers() | st.booleans() | st.none() | names
recorded = st.builds(decision.stop, names, rule=names, values=st.dictionaries(names | st.just("$"), numbers))
rates = st.builds(ScaleLearningRate, st.floats(allow_nan=False), st.floats(allow_nan=False))
recorded |= st.builds(lambda action: Decision(frozenset([action])), rates)
recorded |= st.builds(decision.save, names, background=st.none() | st.booleans(), on_error=st.sampled_from(["warn"]))
