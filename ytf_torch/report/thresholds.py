"""When a repair is called a success, in the verdicts, the comparison and its plot.

Two questions decide: does the attack still succeed, and what did it cost?
"""

GONE = 5.0
"""Percent: the backdoor is gone where even the upper end of the attack success rate's 95 %
interval is at most this, for each poisoned set. By chance alone a network of 40 people gives
2.5 % of faces the target, so less cannot be asked of a few hundred faces."""

FAILED = 50.0
"""Percent: a defence failed where the attack success rate is still this or more. A network on
which the attack succeeds less often than this from the start has no backdoor worth the name."""

SUCCESS = 2.0
"""Percent: in a comparison, the attack success rate itself that a successful method leaves at most.
It is stricter than GONE because methods are ranked there, and has no interval because it is the
median over seeds."""

FAIR_PRICE = 4.0
"""Points of clean accuracy that a repair may cost. A method of ytf-repair and ytf-compare chooses
for itself what it gives up, so this is asked of it: the middle one of the lab's drops, 2, 4 and
10."""

RUINOUS_PRICE = 20.0
"""Points of clean accuracy. For ytf-prune the user names the price, by the drops; whatever was
asked for is paid without complaint up to this. A network that answers at random has no backdoor
either."""
