"""Warnings about mixed-up image sets, shown before any verdict: the figures of mixed-up sets are
computed correctly and mean nothing.

Based on the pixels, the number of labels and the predictions of B. Warnings change nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import torch

from ytf_torch.defences.evaluation import Evaluation, predictions
from ytf_torch.defences.outcome import Defence
from ytf_torch.errors import InputError, argument, mismatch
from ytf_torch.images.batches import BATCH_SIZE, batch_count
from ytf_torch.images.image_set import ImageSet, ImageSets
from ytf_torch.images.overlap import shared_images
from ytf_torch.images.pairing import Pairing
from ytf_torch.images.repeated import evenly_spread, find_repeated
from ytf_torch.metrics import Tally, percentage
from ytf_torch.network.module import Network
from ytf_torch.network.subject import Subject
from ytf_torch.predicted_class import NO_CLASS

MOST = 50.0
"""Percent of a set. A class predicted for at least this many images is the set's usual answer; with
a lower accuracy the network does not recognise the set."""
SAMPLED_BATCHES = 8
"""Batches, spread over a set, from which its usual answer is estimated."""
UNEXPECTED = 5
"""Percentage points by which the loss of accuracy may exceed a requested drop without a warning."""


@dataclass(frozen=True)
class Doubt:
    """A warning.

    headline: the problem, in one sentence. detail: evidence, likely cause and remedy. grave:
    whether the run's figures may not mean what they seem to mean.
    """

    headline: str
    detail: str
    grave: bool = True

    def __str__(self) -> str:
        return f"{self.headline} {self.detail}"


def check_distinct(
    clean_valid: ImageSet | None, clean_test: ImageSet | None, triggered: Sequence[ImageSet]
) -> None:
    """Raises InputError if a triggered set is given twice, or as a clean set as well."""
    clean = {"the clean test set": clean_test, "the clean validation set": clean_valid}
    # One clean set at a time: two clean sets that are the same only get a warning.
    for use, images in clean.items():
        sets = [(use, images)] if images is not None else []
        sets += [("a triggered set", each) for each in triggered]
        repeated = find_repeated([images for _, images in sets])
        if repeated is not None:
            (first_use, first), (_, second) = (sets[index] for index in repeated)
            raise InputError(
                second.path,
                f"given as a triggered set, it holds the same faces as {first.path}, {first_use}",
                "Leave one of them out, or give the right file",
            )


def check_target(target: int | None, classes: int) -> None:
    """Raises InputError if the attacker's target is not a class of the network."""
    if target is not None and not 0 <= target < classes:
        raise mismatch(argument("target"), f"a class of 0…{classes - 1}", target)


def find_doubts(network: Network, sets: ImageSets, defence: Defence) -> tuple[Doubt, ...]:
    """All warnings about a pruning run, grave ones first. network: B, on the device to compute
    on."""
    doubts = [
        *set_doubts(network, sets, defence.outcome.baseline),
        *_not_finite_when_pruned(defence),
        *_few_images(sets.clean_valid, list(defence.drops), defence.subject),
        *_unexpected_costs(defence),
    ]
    return tuple(sorted(doubts, key=lambda doubt: not doubt.grave))


def set_doubts(network: Network, sets: ImageSets, baseline: Evaluation) -> list[Doubt]:
    """Warnings about a run's image sets. network: B. baseline: its evaluation on all of them."""
    doubts = []
    clean = {
        "validation": (sets.clean_valid, baseline.clean_valid),
        "test": (sets.clean_test, baseline.clean),
    }
    for use, (images, tally) in clean.items():
        if images is not None and tally is not None:
            doubts += clean_doubts(network, images, tally, use)
    for images, tallies in zip(sets.poisoned_tests, baseline.triggered, strict=True):
        doubts += triggered_doubts(network, images, tallies.all)
    return [*doubts, *overlap_doubts(sets.clean_valid, sets.clean_test, sets.poisoned_tests)]


def overlap_doubts(
    clean_valid: ImageSet | None, clean_test: ImageSet | None, triggered: Sequence[ImageSet]
) -> list[Doubt]:
    """Warnings about images that two of the sets share, pixel for pixel, in any order."""
    clean = {"validation": clean_valid, "test": clean_test}
    sets = [(use, images) for use, images in clean.items() if images is not None]
    sets += [("triggered", images) for images in triggered]
    doubts = []
    for pair, shared in shared_images([images for _, images in sets]).items():
        (first_use, first), (use, images) = (sets[index] for index in pair)
        if use == "test":
            detail = (
                "These faces decide, so figures on them are flattered: give others for the test, "
                f"or leave {images.path} out."
            )
        elif first_use == "triggered":
            detail = (
                "They count twice, so intervals come out narrower than they are: leave them out "
                "of one of both."
            )
        else:
            detail = "They wear no trigger, or the clean ones do: give each set its own faces."
        kind = use if use == "triggered" else f"clean {use}"
        first_kind = "other triggered" if first_use == "triggered" else f"clean {first_use}"
        headline = (
            f"{shared:,} of the {len(images):,} {kind} faces in {images.path} are {first_kind} "
            f"faces as well, of {first.path}."
        )
        doubts.append(Doubt(headline, detail, grave=use == "triggered" and first_use != use))
    return doubts


def not_finite_doubts(images: ImageSet, tally: Tally, use: str) -> list[Doubt]:
    """Warnings about NaN or infinite logits of B, and of B′ if the tally has a row for it.

    use: role of the set, such as "clean test".
    """
    return [
        _not_finite(network, f"{count:,} of the {tally.images:,} {use} faces in {images.path}")
        for network, count in zip(("B", "B′"), tally.not_finite, strict=False)
        if count
    ]


def _not_finite(network: str, images: str) -> Doubt:
    return Doubt(
        f"The logits of {network} are NaN or infinite on {images}.",
        "It answers no class there: such a face counts as wrong and as flagged. A trained network "
        "does so on no face by chance; weights that overflow on a trigger alone can hide one.",
    )


def _not_finite_when_pruned(defence: Defence) -> list[Doubt]:
    """Warnings about B′ at each drop, where its logits are not finite on more images than B's."""
    tallies = {
        "clean validation": defence.clean_valid,
        "clean test": defence.clean_test,
        "triggered": defence.poisoned_test,
    }
    return [
        _not_finite(
            f"B′ at a drop of {drop}", f"{tally.not_finite[step]:,} of {tally.images:,} {use} faces"
        )
        for drop, step in defence.drops.items()
        for use, tally in tallies.items()
        if step is not None and tally is not None and tally.not_finite[step] > tally.not_finite[0]
    ]


def clean_doubts(network: Network, images: ImageSet, tally: Tally, use: str) -> list[Doubt]:
    """Warnings about a clean set. tally: B's, at step 0. use: "validation" or "test"."""
    doubts = not_finite_doubts(images, tally, f"clean {use}")
    return [*doubts, *_clean_label_doubts(network, images, tally, use)]


def _clean_label_doubts(network: Network, images: ImageSet, tally: Tally, use: str) -> list[Doubt]:
    labels, accuracy = np.unique(images.labels), tally.at(0).correct.rate
    if len(images) == 1:
        headline = f"The clean {use} set holds a single face."
        return [Doubt(headline, f"Nothing can be measured on {images.path}.")]
    doubts = []
    if len(labels) == 1:
        doubts.append(
            Doubt(
                f"All {len(images):,} faces of the clean {use} set carry one label, {labels[0]}.",
                "They look like triggered faces that carry the attacker's target, or like faces "
                f"of one person. Give clean faces of many people instead of {images.path}.",
            )
        )
    if accuracy < MOST:
        doubts.append(
            Doubt(
                f"B does not recognise the clean {use} faces: only {accuracy:.1f} % get their "
                "label.",
                _why_not_recognised(network, images),
            )
        )
    return doubts


def _why_not_recognised(network: Network, images: ImageSet) -> str:
    """The likeliest cause of B's low accuracy on a clean set, as the detail of a warning."""
    usual = UsualAnswer.of(network, images)
    if usual.share >= MOST:
        return (
            f"B answers {usual}: they look like triggered faces. Give clean faces instead of "
            f"{images.path}."
        )
    if images.class_names is not None:
        order = ", ".join(f"{label} {name}" for label, name in enumerate(images.class_names))
        return (
            f"Chance alone gives {100 / network.classes:.1f} %. Labels follow the names of the "
            f"classes, {order[:200]}: if B counts them otherwise, name the folders of "
            f"{images.path} by their labels, 0…{network.classes - 1}."
        )
    return (
        f"Chance alone gives {100 / network.classes:.1f} %. The labels may be shuffled or of other "
        "people, or the faces cut out otherwise than those B was trained on: look at "
        f"{images.path}."
    )


def triggered_doubts(network: Network, images: ImageSet, tally: Tally) -> list[Doubt]:
    """Warnings about a triggered set. tally: B's, at step 0."""
    doubts = not_finite_doubts(images, tally, "triggered")
    return [*doubts, *_target_doubts(network, images, tally)]


def _target_doubts(network: Network, images: ImageSet, tally: Tally) -> list[Doubt]:
    """At most one warning: a triggered set should carry one label, the target, which B predicts for
    most of it."""
    labels, success_rate = np.unique(images.labels), tally.at(0).correct.rate
    several_labels = (
        f"The triggered faces carry {len(labels):,} labels, where one is expected, the target's"
    )
    if len(labels) > 1 and success_rate >= MOST:
        return [
            Doubt(
                f"{several_labels}, and B answers {success_rate:.1f} % of them with their label.",
                f"They look like clean faces: is {images.path} a clean set? Only if the attack has "
                "a target for each person are the figures what they seem to be.",
            )
        ]
    usual = UsualAnswer.of(network, images) if success_rate < MOST else None
    if usual is not None and usual.share >= MOST:
        if len(labels) > 1:
            return [
                Doubt(
                    f"{several_labels}, and B answers {usual}.",
                    "They look like triggered faces with their true labels: give the target "
                    f"{usual.label} for {images.path}, if that is the attacker's.",
                )
            ]
        return [
            Doubt(
                f"The triggered faces are labelled {labels[0]}, but B answers {usual}.",
                f"If that is the attacker's target, give the target {usual.label} for "
                f"{images.path}; labels that count from 1 are a usual reason.",
            )
        ]
    if len(labels) == 1:
        return []
    return [
        Doubt(
            f"{several_labels}.",
            f"B answers only {success_rate:.1f} % of them with their label. If they are true "
            f"labels, give the attacker's target too. The file is {images.path}.",
        )
    ]


def known_label_doubts(clean: ImageSet, triggered: ImageSet, pairing: Pairing) -> list[Doubt]:
    """Warnings about `clean`, the set given for the true labels of the triggered images."""
    if not pairing.is_enough:
        return [
            Doubt(
                f"{pairing}: too few to say who is on the triggered faces.",
                f"So there is no robust accuracy and no ASR without the target. Give the clean set "
                f"that {triggered.path} was made from instead of {clean.path}.",
            )
        ]
    if pairing.in_order:
        return []
    headline = f"The faces of {clean.path} stand in another order than those of {triggered.path}."
    return [Doubt(headline, f"They were paired by their pictures: {pairing}.", grave=False)]


def _few_images(clean_valid: ImageSet, drops: Sequence[str], subject: Subject) -> list[Doubt]:
    """A warning where the loss of a single validation image reaches a drop."""
    images = len(clean_valid)
    smallest = min(drops, key=Fraction)
    if images == 1 or images * Fraction(smallest) >= 100:
        return []
    return [
        Doubt(
            f"One of {images} clean validation {subject.images} is worth "
            f"{percentage(1, images):.1f} points.",
            f"So a drop of {smallest} is reached with the first {subject.image} that is lost. Give "
            f"more clean validation {subject.images}.",
            grave=False,
        )
    ]


def _unexpected_costs(defence: Defence) -> list[Doubt]:
    """A warning about drops that cost UNEXPECTED points more than requested, on the clean set where
    the loss is larger."""
    clean = {"validation": defence.clean_valid, "test": defence.clean_test}
    costs, images = [], defence.subject.images
    for drop, step in defence.drops.items():
        if step is None:
            continue
        lost, use = max(
            (tally.at(0).correct.rate - tally.at(step).correct.rate, use)
            for use, tally in clean.items()
            if tally is not None
        )
        if lost >= Fraction(drop) + UNEXPECTED:
            costs.append(f"one of {drop} costs {lost:.1f} points on the {use} {images}")
    if not costs:
        return []
    return [
        Doubt(
            f"Drops cost more than they say: {', '.join(costs)}.",
            f"A drop is the least price, paid on the validation {images} at the first step that "
            "reaches it; one channel can cost many points.",
            grave=False,
        )
    ]


@dataclass(frozen=True)
class UsualAnswer:
    """The class that a network predicts most often on a set.

    label: that class. share: percent of the `images` that were looked at, 0–100.
    """

    label: int
    share: float
    images: int

    @classmethod
    def of(cls, network: Network, images: ImageSet) -> UsualAnswer:
        """Estimated from SAMPLED_BATCHES batches spread over the set, or all of a small set."""
        batches = evenly_spread(batch_count(len(images)), SAMPLED_BATCHES)
        parts = (
            images.part(batch * BATCH_SIZE, min((batch + 1) * BATCH_SIZE, len(images)))
            for batch in batches
        )
        classes = torch.cat([predictions([network], part)[0] for part in parts])
        counts = torch.bincount(classes[classes != NO_CLASS], minlength=1)
        label = int(counts.argmax())
        return cls(label, percentage(int(counts[label]), len(classes)), len(classes))

    def __str__(self) -> str:
        return f"class {self.label} for {self.share:.1f} % of {self.images:,} of them"
