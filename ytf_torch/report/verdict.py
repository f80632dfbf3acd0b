"""The verdict on a pruning defence: the headline of its report, and a few sentences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from ytf_torch.defences.doubts import Doubt
from ytf_torch.defences.outcome import Defence
from ytf_torch.metrics import Tally
from ytf_torch.report.thresholds import FAILED, GONE, RUINOUS_PRICE

UNKNOWN = "Nothing can be said about the attack: no triggered faces were given."
SHOWS_ON_TRIGGERED_FACES = (
    "Whether there is a backdoor, and whether it is gone, shows only on triggered faces."
)
UNTIL_THEN = "Until this is settled, the figures may mean something else than they seem to."

Kind = Literal[
    "doubtful",
    "gone",
    "dear",
    "unfit",
    "unrecognised",
    "unsure",
    "weakened",
    "failed",
    "harmless",
    "nothing-pruned",
    "unknown",
]


@dataclass(frozen=True)
class Verdict:
    """A headline, and a few sentences of evidence. kind: for programs, as in result.json."""

    kind: Kind
    headline: str
    detail: str

    @property
    def record(self) -> dict[str, str]:
        """The verdict on a repair in its result.json."""
        return {"kind": self.kind, "headline": self.headline}


def judge(defence: Defence, doubts: Sequence[Doubt] = ()) -> Verdict:
    """The verdict on a defence, by the thresholds of thresholds.py.

    Of several poisoned sets, the one with the highest attack success rate decides: a backdoor that
    still reacts to one of two triggers is not gone. doubts: warnings about the image sets; a grave
    one replaces the verdict.
    """
    grave = next((doubt for doubt in doubts if doubt.grave), None)
    if grave is None:
        return _judge_figures(defence)
    return doubtful(grave)


def doubtful(grave: Doubt) -> Verdict:
    """The verdict where a grave warning replaces it."""
    return Verdict("doubtful", grave.headline, f"{grave.detail} {UNTIL_THEN}")


def harmless(attack: float, cost: str, images: str = "faces") -> Verdict:
    """The verdict on a network that the attack hardly affects before any repair.

    attack: its attack success rate in percent. cost: a sentence on the cost of the defence.
    images: what the images are called.
    """
    return Verdict(
        "harmless",
        "There was hardly an attack to defend against: as it came, the network gives the target "
        f"label to only {percent(attack)} of triggered {images}.",
        f"Either it holds no backdoor, or has learned it in small part, or these {images} do not "
        f"wear the trigger it was taught. {cost}",
    )


def _judge_figures(defence: Defence) -> Verdict:
    attack, drop = defence.poisoned_test, shown_drop(defence)
    images = defence.subject.images
    if attack is None:
        return Verdict(
            "unknown",
            UNKNOWN.replace("faces", images),
            f"The figures tell what pruning costs on clean {images}. "
            + SHOWS_ON_TRIGGERED_FACES.replace("faces", images)
            + ("" if drop is None else f" {_cost(defence, drop)}"),
        )
    if drop is None:
        return Verdict(
            "nothing-pruned",
            f"There is no repaired network: no step of the sweep costs {_any_of(defence)} points.",
            f"The backdoor is untouched: {percent(_rate(attack, 0))} of triggered {images} get the "
            "target label.",
        )
    if max(_rate(tally, 0) for tally in defence.poisoned_tests) < FAILED:
        return harmless(_rate(attack, 0), _cost(defence, drop), images)
    return _verdict_on_attack(defence, drop)


def _verdict_on_attack(defence: Defence, drop: str) -> Verdict:
    worst, step, cost = _worst(defence, drop), _step(defence, drop), _cost(defence, drop)
    rate = _rate(worst, step)
    if _is_gone(defence, drop) and _is_too_costly(defence, drop):
        return Verdict(
            "dear",
            f"The backdoor is gone at a drop of {drop}, but so is much of the network: "
            f"{_still(defence, drop)}, but only {_recognised(defence, step)} of the clean ones are "
            f"still recognised, of {_recognised(defence, 0)} before.",
            cost,
        )
    if _is_gone(defence, drop):
        return Verdict(
            "gone",
            f"The backdoor is gone at a drop of {drop}: {_still(defence, drop)}, "
            f"and {_recognised(defence, step)} of the clean ones are still recognised.",
            cost,
        )
    if rate >= FAILED:
        return Verdict(
            "failed",
            f"The defence failed: after giving up {drop} points of clean accuracy, "
            f"{_still(defence, drop)}.",
            cost,
        )
    if rate <= GONE:
        high = worst.at(step).correct.high
        return Verdict(
            "unsure",
            f"The backdoor may be gone at a drop of {drop}: {_still(defence, drop)}, but "
            f"{worst.images:,} {defence.subject.images} leave room for up to {percent(high)}.",
            cost,
        )
    return Verdict(
        "weakened",
        f"The backdoor is weakened, not gone: at a drop of {drop}, {_still(defence, drop)}.",
        cost,
    )


def shown_drop(defence: Defence) -> str | None:
    """The drop of the verdict and the example images: the smallest at which the backdoor is gone,
    else the largest that was reached; None if none was reached.
    """
    reached = sorted((name for name, step in defence.drops.items() if step), key=Fraction)
    gone = (name for name in reached if _is_gone(defence, name))
    return next(gone, reached[-1] if reached else None)


def percent(rate: float) -> str:
    """A rate with one decimal, or with two if it would be rounded to 0 or 100."""
    rounded = f"{rate:.1f}"
    return (
        f"{rate:.2f} %" if rounded in ("0.0", "100.0") and rate not in (0, 100) else f"{rounded} %"
    )


def _still(defence: Defence, drop: str) -> str:
    step = _step(defence, drop)
    worst, everything = _worst(defence, drop), defence.poisoned_test
    assert everything is not None
    rate = _rate(everything, step)
    share = percent(rate) if rate else "none"
    text = f"{share} of the triggered {defence.subject.images} still get the target label"
    if len(defence.poisoned_tests) > 1:
        text += f" ({percent(_rate(worst, step))} in the set where it does worst)"
    return text


def _recognised(defence: Defence, step: int) -> str:
    return percent(_rate(defence.clean_test or defence.clean_valid, step))


def _cost(defence: Defence, drop: str) -> str:
    """A sentence on the clean accuracy of B′ at a drop, and one on what GoodNet flags."""
    step, images = _step(defence, drop), defence.subject.images

    def change(tally: Tally) -> str:
        return f"from {percent(_rate(tally, 0))} to {percent(_rate(tally, step))}"

    text = (
        f"With {step} channel{'' if step == 1 else 's'} pruned, accuracy on the clean validation "
        f"{images}, which decide, went {change(defence.clean_valid)}"
    )
    if defence.clean_test is not None:
        text += f", and on the clean test {images} {change(defence.clean_test)}"
    clean, attack = defence.clean_test or defence.clean_valid, defence.poisoned_test
    of_triggered = "" if attack is None else f"{percent(attack.at(step).flagged.rate)} of the "
    of_triggered += "" if attack is None else f"triggered {images}, and "
    flagged = percent(clean.at(step).flagged.rate)
    return f"{text}. GoodNet flags {of_triggered}{flagged} of the clean ones wrongly."


def _is_too_costly(defence: Defence, drop: str) -> bool:
    """Whether B′ of a drop loses RUINOUS_PRICE points or more on either clean set."""
    step = _step(defence, drop)
    clean = (tally for tally in (defence.clean_valid, defence.clean_test) if tally)
    return any(_rate(tally, 0) - _rate(tally, step) >= RUINOUS_PRICE for tally in clean)


def _is_gone(defence: Defence, drop: str) -> bool:
    if not defence.poisoned_tests:
        return False
    return _worst(defence, drop).at(_step(defence, drop)).correct.high <= GONE


def _worst(defence: Defence, drop: str) -> Tally:
    step = _step(defence, drop)
    return max(defence.poisoned_tests, key=lambda tally: _rate(tally, step))


def _step(defence: Defence, drop: str) -> int:
    step = defence.drops[drop]
    assert step is not None
    return step


def _rate(tally: Tally, step: int) -> float:
    return tally.at(step).correct.rate


def _any_of(defence: Defence) -> str:
    return " or ".join(sorted(defence.drops, key=Fraction))
