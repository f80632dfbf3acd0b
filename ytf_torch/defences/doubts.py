"""What looks wrong about the face sets of a run: said before any verdict, for figures of mixed-up
sets are right and mean nothing.

Judged by the pictures, by how many labels there are, and by what B answers.
Nothing here decides anything else.
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
"""Percent of a set from which on an answer counts as the usual one, and below which a network does
not recognise its faces."""
SAMPLED_BATCHES = 8
UNEXPECTED = 5
"""Points of accuracy that a drop may cost beyond what was asked for before it is pointed out."""


@dataclass(frozen=True)
class Doubt:
    """Something that looks wrong.

    headline: what, in one sentence. detail: what was found, what it looks like and what to do.
    grave: whether the run's figures may mean something else than they seem to.
    """

    headline: str
    detail: str
    grave: bool = True

    def __str__(self) -> str:
        return f"{self.headline} {self.detail}"


def check_distinct(
    clean_valid: ImageSet | None, clean_test: ImageSet | None, triggered: Sequence[ImageSet]
) -> None:
    """Raises InputError where a triggered set is given twice, or as a clean one too."""
    clean = {"the clean test set": clean_test, "the clean validation set": clean_valid}
    for use, faces in clean.items():
        given = [(use, faces)] if faces is not None else []
        given += [("a triggered set", other) for other in triggered]
        repeated = find_repeated([faces for _, faces in given])
        if repeated is not None:
            (first_use, first), (_, other) = (given[place] for place in repeated)
            raise InputError(
                other.path,
                f"given as a triggered set, it holds the same faces as {first.path}, {first_use}",
                "Leave one of them out, or give the right file",
            )


def check_target(target: int | None, classes: int) -> None:
    """Raises InputError where the attacker's target is no class of the network."""
    if target is not None and not 0 <= target < classes:
        raise mismatch(argument("target"), f"a class of 0…{classes - 1}", target)


def find_doubts(network: Network, sets: ImageSets, defence: Defence) -> tuple[Doubt, ...]:
    """Everything that looks wrong about a pruning run, the grave first. network: B, on the device
    to compute on."""
    found = [
        *set_doubts(network, sets, defence.outcome.baseline),
        *_not_finite_when_pruned(defence),
        *_few_images(sets.clean_valid, list(defence.drops), defence.subject),
        *_unexpected_prices(defence),
    ]
    return tuple(sorted(found, key=lambda doubt: not doubt.grave))


def set_doubts(network: Network, sets: ImageSets, baseline: Evaluation) -> list[Doubt]:
    """What looks wrong about face sets. network: B. baseline: its evaluation on all of them."""
    found = []
    clean = {
        "validation": (sets.clean_valid, baseline.clean_valid),
        "test": (sets.clean_test, baseline.clean),
    }
    for use, (faces, tally) in clean.items():
        if faces is not None and tally is not None:
            found += clean_doubts(network, faces, tally, use)
    for faces, tallies in zip(sets.poisoned_tests, baseline.triggered, strict=True):
        found += triggered_doubts(network, faces, tallies.all)
    return [*found, *overlap_doubts(sets.clean_valid, sets.clean_test, sets.poisoned_tests)]


def overlap_doubts(
    clean_valid: ImageSet | None, clean_test: ImageSet | None, triggered: Sequence[ImageSet]
) -> list[Doubt]:
    """Faces that are in two of the sets, pixel for pixel, in whatever order."""
    clean = {"validation": clean_valid, "test": clean_test}
    uses = [(use, faces) for use, faces in clean.items() if faces is not None]
    uses += [("triggered", faces) for faces in triggered]
    found = []
    for places, shared in shared_images([faces for _, faces in uses]).items():
        (first_use, first), (use, faces) = (uses[place] for place in places)
        if use == "test":
            detail = (
                "These faces decide, so figures on them are flattered: give others for the test, "
                f"or leave {faces.path} out."
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
            f"{shared:,} of the {len(faces):,} {kind} faces in {faces.path} are {first_kind} faces "
            f"as well, of {first.path}."
        )
        found.append(Doubt(headline, detail, grave=use == "triggered" and first_use != use))
    return found


def not_finite_doubts(faces: ImageSet, tally: Tally, use: str) -> list[Doubt]:
    """Where the logits of B, and of B′ if the tally has it too, are NaN or infinite.

    use: what the faces are, such as "clean test".
    """
    return [
        _not_finite(network, f"{count:,} of the {tally.images:,} {use} faces in {faces.path}")
        for network, count in zip(("B", "B′"), tally.not_finite, strict=False)
        if count
    ]


def _not_finite(network: str, faces: str) -> Doubt:
    return Doubt(
        f"The logits of {network} are NaN or infinite on {faces}.",
        "It answers no class there: such a face counts as wrong and as flagged. A trained network "
        "does so on no face by chance; weights that overflow on a trigger alone can hide one.",
    )


def _not_finite_when_pruned(defence: Defence) -> list[Doubt]:
    """The same of B′ at each drop, where it is so on more faces than with B."""
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


def clean_doubts(network: Network, faces: ImageSet, tally: Tally, use: str) -> list[Doubt]:
    """What looks wrong about a clean set. tally: B's, at step 0. use: validation or test."""
    found = not_finite_doubts(faces, tally, f"clean {use}")
    return [*found, *_clean_label_doubts(network, faces, tally, use)]


def _clean_label_doubts(network: Network, faces: ImageSet, tally: Tally, use: str) -> list[Doubt]:
    people, right = np.unique(faces.labels), tally.at(0).correct.rate
    if len(faces) == 1:
        headline = f"The clean {use} set holds a single face."
        return [Doubt(headline, f"Nothing can be measured on {faces.path}.")]
    found = []
    if len(people) == 1:
        found.append(
            Doubt(
                f"All {len(faces):,} faces of the clean {use} set carry one label, {people[0]}.",
                "They look like triggered faces that carry the attacker's target, or like faces "
                f"of one person. Give clean faces of many people instead of {faces.path}.",
            )
        )
    if right < MOST:
        found.append(
            Doubt(
                f"B does not recognise the clean {use} faces: only {right:.1f} % get their label.",
                _why_not_recognised(network, faces),
            )
        )
    return found


def _why_not_recognised(network: Network, faces: ImageSet) -> str:
    usual = UsualAnswer.of(network, faces)
    if usual.share >= MOST:
        return (
            f"B answers {usual}: they look like triggered faces. Give clean faces instead of "
            f"{faces.path}."
        )
    if faces.class_names is not None:
        order = ", ".join(f"{label} {name}" for label, name in enumerate(faces.class_names))
        return (
            f"Chance alone gives {100 / network.classes:.1f} %. Labels follow the names of the "
            f"classes, {order[:200]}: if B counts them otherwise, name the folders of {faces.path} "
            f"by their labels, 0…{network.classes - 1}."
        )
    return (
        f"Chance alone gives {100 / network.classes:.1f} %. The labels may be shuffled or of other "
        f"people, or the faces cut out otherwise than those B was trained on: look at {faces.path}."
    )


def triggered_doubts(network: Network, faces: ImageSet, tally: Tally) -> list[Doubt]:
    """What looks wrong about a triggered set. tally: B's, at step 0."""
    found = not_finite_doubts(faces, tally, "triggered")
    return [*found, *_target_doubts(network, faces, tally)]


def _target_doubts(network: Network, faces: ImageSet, tally: Tally) -> list[Doubt]:
    labels, right = np.unique(faces.labels), tally.at(0).correct.rate
    carry = f"The triggered faces carry {len(labels):,} labels, where one is expected, the target's"
    if len(labels) > 1 and right >= MOST:
        return [
            Doubt(
                f"{carry}, and B answers {right:.1f} % of them with their label.",
                f"They look like clean faces: is {faces.path} a clean set? Only if the attack has "
                "a target for each person are the figures what they seem to be.",
            )
        ]
    usual = UsualAnswer.of(network, faces) if right < MOST else None
    if usual is not None and usual.share >= MOST:
        if len(labels) > 1:
            return [
                Doubt(
                    f"{carry}, and B answers {usual}.",
                    "They look like triggered faces with their true labels: give the target "
                    f"{usual.label} for {faces.path}, if that is the attacker's.",
                )
            ]
        return [
            Doubt(
                f"The triggered faces are labelled {labels[0]}, but B answers {usual}.",
                f"If that is the attacker's target, give the target {usual.label} for "
                f"{faces.path}; labels that count from 1 are a usual reason.",
            )
        ]
    if len(labels) == 1:
        return []
    return [
        Doubt(
            f"{carry}.",
            f"B answers only {right:.1f} % of them with their label. If they are true labels, give "
            f"the attacker's target too. The file is {faces.path}.",
        )
    ]


def known_label_doubts(known: ImageSet, triggered: ImageSet, pairing: Pairing) -> list[Doubt]:
    """What looks wrong about a set that was given to say who is on the triggered faces."""
    if not pairing.is_enough:
        return [
            Doubt(
                f"{pairing}: too few to say who is on the triggered faces.",
                f"So there is no robust accuracy and no ASR without the target. Give the clean set "
                f"that {triggered.path} was made from instead of {known.path}.",
            )
        ]
    if pairing.in_order:
        return []
    headline = f"The faces of {known.path} stand in another order than those of {triggered.path}."
    return [Doubt(headline, f"They were paired by their pictures: {pairing}.", grave=False)]


def _few_images(clean_valid: ImageSet, drops: Sequence[str], subject: Subject) -> list[Doubt]:
    """Where one validation image more or less decides whether a drop is reached."""
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


def _unexpected_prices(defence: Defence) -> list[Doubt]:
    """Drops that cost far more than their number of points, on the clean set where it is most."""
    clean = {"validation": defence.clean_valid, "test": defence.clean_test}
    prices, images = [], defence.subject.images
    for drop, step in defence.drops.items():
        if step is None:
            continue
        lost, use = max(
            (tally.at(0).correct.rate - tally.at(step).correct.rate, use)
            for use, tally in clean.items()
            if tally is not None
        )
        if lost >= Fraction(drop) + UNEXPECTED:
            prices.append(f"one of {drop} costs {lost:.1f} points on the {use} {images}")
    if not prices:
        return []
    return [
        Doubt(
            f"Drops cost more than they say: {', '.join(prices)}.",
            f"A drop is the least price, paid on the validation {images} at the first step that "
            "reaches it; one channel can cost many points.",
            grave=False,
        )
    ]


@dataclass(frozen=True)
class UsualAnswer:
    """The class that a network answers for most faces of a set: for share percent of `images`."""

    label: int
    share: float
    images: int

    @classmethod
    def of(cls, network: Network, faces: ImageSet) -> UsualAnswer:
        """Of batches spread over the set; of all its faces where it is small."""
        places = evenly_spread(batch_count(len(faces)), SAMPLED_BATCHES)
        parts = (
            faces.part(place * BATCH_SIZE, min((place + 1) * BATCH_SIZE, len(faces)))
            for place in places
        )
        answers = torch.cat([predictions([network], part)[0] for part in parts])
        counts = torch.bincount(answers[answers != NO_CLASS], minlength=1)
        label = int(counts.argmax())
        return cls(label, percentage(int(counts[label]), len(answers)), len(answers))

    def __str__(self) -> str:
        return f"class {self.label} for {self.share:.1f} % of {self.images:,} of them"
