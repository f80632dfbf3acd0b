"""When a repair is called a success, in the verdicts, the comparison and its plot.

Two questions decide: does the attack still succeed, and what did it cost?
"""

GONE = 5.0
"""Percent: the backdoor is gone only where even the upper end of the attack success rate's 95 %
interval is at most this, for each poisoned set. By chance alone a network of 40 people gives
2.5 % of faces the target, so less cannot be asked of a few hundred faces."""

FAILED = 50.0
"""Percent: a defence failed where the attack success rate is still this or more. A network on
which the attack succeeds less often than this from the start has no backdoor worth the name."""

SUCCESS = 2.0
"""Percent: the attack success rate without the target's own faces that a successful repair leaves
at most. It must not be significantly above the rate at which the same network gives the target to
clean faces of other classes either; between the two a backdoor is weakened."""

RECOGNISED = 50.0
"""Percent: with a lower robust accuracy, triggered faces have lost the target but do not get their
true class either."""

FITTED = 90.0
"""Percent of clean validation faces: a repair that trains on them, and that ends with fewer, was
under-trained or has forgotten the classes, where the network as it came recognises as many."""

FAIR_PRICE = 4.0
"""Points of clean accuracy that a repair may cost. A method of ytf-repair and ytf-compare chooses
for itself what it gives up, so this is asked of it: the middle one of the lab's drops, 2, 4 and
10. What costs more than this on the very validation faces it was made with is not fit for use."""

RUINOUS_PRICE = 20.0
"""Points of clean accuracy. For ytf-prune the user names the price, by the drops; whatever was
asked for is paid without complaint up to this. A network that answers at random has no backdoor
either."""
