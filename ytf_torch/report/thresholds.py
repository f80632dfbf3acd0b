"""The thresholds of all verdicts: does the attack still succeed, and what does the repair cost?"""

GONE = 5.0
"""Percent: the backdoor is gone only if the upper bound of the attack success rate's 95 % interval
is at most this, on every poisoned set. With 40 classes, chance alone gives 2.5 %, so a few hundred
images cannot support a lower threshold."""

FAILED = 50.0
"""Percent: a defence failed if the attack success rate is still this or more, and a repair if it is
still so much of what it was. A network below it before any defence has no effective backdoor."""

TOOK = 10.0
"""Percent: a network whose attack success rate, excluding images of the target class, is at least
this before any repair has an effective backdoor as well, which it has learned in part. Over all
triggered images so much may be chance: the share of the target's own is 10 with ten classes."""

SUCCESS = 2.0
"""Percent: the largest attack success rate, excluding images of the target class, after a
successful repair. It must also not be significantly above the rate at which the same network
predicts the target for clean images of other classes. Between this and FAILED the backdoor is
weakened."""

RECOGNISED = 50.0
"""Percent: with a lower robust accuracy, triggered images no longer get the target, but not their
true class either."""

FITTED = 90.0
"""Percent of clean validation images: a repair that trains on them but recognises fewer is
under-trained or has forgotten classes, if the original network recognises at least as many."""

FAIR_PRICE = 4.0
"""Percentage points of clean accuracy that a repair may cost: the middle one of the lab's drops 2,
4 and 10. The methods of ytf-repair and ytf-compare choose their own cost, so they need a limit. A
network that loses more on its own validation images is unfit for use, unless it was pruned: pruning
stops at the first step that loses as much or more."""

RUINOUS_PRICE = 20.0
"""Percentage points of clean accuracy. In ytf-prune the user sets the cost by the drops, so only a
loss of this or more is reported: a network that guesses has no backdoor either. A repair that costs
as much on clean test images is unfit for use, whatever it recognises of those it was trained on."""
