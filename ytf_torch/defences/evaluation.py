"""What a network is worth on face sets: alone, as GoodNet with a repaired copy, or guarded by
detectors."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from operator import attrgetter
from types import MappingProxyType

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ytf_torch.defences.base import Candidate
from ytf_torch.defences.detectors.alarm import Alarm
from ytf_torch.device import exact_float32
from ytf_torch.distributed import gathered, together
from ytf_torch.errors import mismatch
from ytf_torch.images.batches import whole_batch
from ytf_torch.images.image_set import UNLABELLED, ImageSet
from ytf_torch.images.pairing import Pairing
from ytf_torch.images.shares import share_of
from ytf_torch.metrics import Figures, Share, Step, Tally, count_answers
from ytf_torch.network.module import Network
from ytf_torch.predicted_class import classes_of
from ytf_torch.progress import Track, untracked

MODEL, REPAIRED = 0, 1
CORRECT, GOODNET_CORRECT, FLAGGED = map(attrgetter, ("correct", "goodnet_correct", "flagged"))
NO_ALARMS: Mapping[str, Alarm] = MappingProxyType({})


@dataclass(frozen=True)
class TriggeredTallies:
    """Counts on one triggered set, by the attacker's target: of all its faces, and of those whose
    true class is another; and by the true class. The last two over the faces that are paired with
    a clean one, where these are enough. pairing: None where there was no set to pair with.
    clean_to_target: of clean faces of other classes, by the target; None where it is not known
    which target the attacker wants for them."""

    all: Tally
    without_target: Tally | None = None
    by_true_class: Tally | None = None
    pairing: Pairing | None = field(default=None, compare=False)
    clean_to_target: Tally | None = None


@dataclass(frozen=True)
class Evaluation:
    """Counts on clean and triggered faces.

    In a Tally, index 0 is the network, 1 its repaired copy where one was given, and then come the
    detectors: each gives the network's answer, or N where it flags a face. clean: of the clean test
    set. triggered: one for each triggered set, in the order given.

    >>> pruned = ytf_torch.pruned_checkpoint(checkpoint, "conv_3", "pool_3", [2])
    >>> evaluation = ytf_torch.evaluate(checkpoint, "test.h5", "bd_test.h5", repaired=pruned)
    >>> evaluation.goodnet.false_positive_rate
    33.33 % (17.97–53.29), 8 of 24
    """

    clean: Tally | None
    triggered: tuple[TriggeredTallies, ...] = ()
    with_repaired: bool = False
    detectors: tuple[str, ...] = ()
    clean_valid: Tally | None = None

    @property
    def model(self) -> Figures:
        """Of the network itself."""
        return self._figures(MODEL)

    @property
    def repaired(self) -> Figures | None:
        """Of the repaired network alone."""
        return self._figures(REPAIRED) if self.with_repaired else None

    @property
    def goodnet(self) -> Figures | None:
        """Of both as GoodNet; a triggered face that is flagged is no success of the attack."""
        return self._guarded(REPAIRED) if self.with_repaired else None

    def detector(self, name: str) -> Figures:
        """Of the network behind a detector; a face that is flagged gets no class at all."""
        return self._guarded(1 + self.with_repaired + self.detectors.index(name))

    def of_set(self, triggered: TriggeredTallies) -> Evaluation:
        """The same of one triggered set alone, without the clean sets."""
        return replace(self, clean=None, clean_valid=None, triggered=(triggered,))

    @property
    def pairing(self) -> Pairing | None:
        """Which triggered faces, of all sets, are paired with a clean one; None where there were no
        clean ones to pair with."""
        found = [part.pairing for part in self.triggered if part.pairing is not None]
        if not found or len(found) < len(self.triggered):
            return None
        return Pairing(np.concatenate([pairing.places for pairing in found]))

    @property
    def _triggered(self) -> tuple[Tally | None, Tally | None, Tally | None]:
        """All triggered sets together; what true labels tell only where every set has them."""
        return (
            _total([tallies.all for tallies in self.triggered]),
            _total([tallies.without_target for tallies in self.triggered]),
            _total([tallies.by_true_class for tallies in self.triggered]),
        )

    @property
    def _clean_to_target(self) -> Tally | None:
        return _total([tallies.clean_to_target for tallies in self.triggered])

    def _figures(self, row: int) -> Figures:
        everything, others, true = self._triggered
        return Figures(
            clean_accuracy=_share(self.clean, row, CORRECT),
            attack_success_rate=_share(everything, row, CORRECT),
            attack_success_rate_without_target=_share(others, row, CORRECT),
            robust_accuracy=_share(true, row, CORRECT),
            clean_valid_accuracy=_share(self.clean_valid, row, CORRECT),
            clean_not_finite=_not_finite(self.clean, row),
            triggered_not_finite=_not_finite(everything, row),
            clean_valid_not_finite=_not_finite(self.clean_valid, row),
            clean_target_rate=_share(self._clean_to_target, row, CORRECT),
        )

    def _guarded(self, row: int) -> Figures:
        """The figures where an answer other than the network's own counts as flagged."""
        everything, others, true = self._triggered
        return Figures(
            clean_accuracy=_share(self.clean, row, GOODNET_CORRECT),
            attack_success_rate=_share(everything, row, GOODNET_CORRECT),
            attack_success_rate_without_target=_share(others, row, GOODNET_CORRECT),
            robust_accuracy=_share(true, row, GOODNET_CORRECT),
            false_positive_rate=_share(self.clean, row, FLAGGED),
            true_positive_rate=_share(everything, row, FLAGGED),
            clean_valid_accuracy=_share(self.clean_valid, row, GOODNET_CORRECT),
            clean_valid_flagged=_share(self.clean_valid, row, FLAGGED),
            clean_target_rate=_share(self._clean_to_target, row, GOODNET_CORRECT),
        )


def _share(tally: Tally | None, row: int, figure: Callable[[Step], Share]) -> Share | None:
    return None if tally is None else figure(tally.at(row))


def _not_finite(tally: Tally | None, row: int) -> Share | None:
    count = 0 if tally is None else tally.not_finite[row]
    return None if tally is None or not count else Share.of(count, tally.images)


def evaluate(
    network: Network,
    clean_test: ImageSet | None = None,
    poisoned_tests: Sequence[ImageSet] = (),
    repaired: Network | None = None,
    known_labels: ImageSet | None = None,
    track: Track = untracked,
    *,
    pairings: Sequence[Pairing] | None = None,
    clean_valid: ImageSet | None = None,
    alarms: Mapping[str, Alarm] = NO_ALARMS,
) -> Evaluation:
    """Count a network's answers, those of GoodNet where a repaired copy is given, and what
    detectors flag.

    poisoned_tests: triggered faces labelled with the attacker's target. known_labels: a set whose
    labels say who is really on the triggered faces, without it the clean test set; faces are paired
    by their pictures. pairings: those of each triggered set, where they are known already.
    alarms: by detector's name.
    Raises InputError where `known_labels` says of each triggered face that it is the target.

    >>> faces = ytf_torch.open_images(Path("test.h5"), network.input_shape, network.classes)
    >>> evaluate(network, faces).model.clean_accuracy
    100.00 % (86.20–100.00), 24 of 24
    """
    networks = [network] if repaired is None else [network, repaired]
    watched = tuple(alarms.values())

    def answered(faces: ImageSet | None) -> _Answered | None:
        return (
            None
            if faces is None
            else _Answered(faces, predictions(networks, faces, track, watched))
        )

    on_test, on_valid = answered(clean_test), answered(clean_valid)
    triggered = []
    clean = known_labels or clean_test
    if pairings is None and clean is not None:
        pairings = [faces.paired_with(clean) for faces in poisoned_tests]
    for place, faces in enumerate(poisoned_tests):
        pairing = None if pairings is None else pairings[place]
        if known_labels is not None and pairing is not None:
            _check_known(known_labels, faces, pairing)
        answers = predictions(networks, faces, track, watched)
        labels = None if clean is None else clean.labels
        tallies = _triggered_tallies(answers, faces, pairing, labels)
        by_chance = None
        if on_test is not None:
            by_chance = on_test.by_target(faces, pairing if clean is clean_test else None)
        elif on_valid is not None:
            by_chance = on_valid.by_target(faces)
        triggered.append(replace(tallies, clean_to_target=by_chance))
    return Evaluation(
        clean=None if on_test is None else on_test.tally,
        triggered=tuple(triggered),
        with_repaired=repaired is not None,
        detectors=tuple(alarms),
        clean_valid=None if on_valid is None else on_valid.tally,
    )


@dataclass(frozen=True)
class _Answered:
    """A clean set, and what each network and alarm answers for its faces: see predictions."""

    faces: ImageSet
    answers: Tensor

    @property
    def tally(self) -> Tally:
        return _tally(self.answers, self.faces)

    def by_target(self, triggered: ImageSet, pairing: Pairing | None = None) -> Tally | None:
        """Counts by the class that the attacker wants, of faces of other classes.

        Where a triggered set has one target it is wanted for all faces; of several each is wanted
        for the faces that are paired with triggered ones, and None is known without `pairing`.
        """
        labels, targets = self.faces.labels, np.unique(triggered.labels)
        if len(targets) == 1:
            places, wanted = np.arange(len(labels)), np.full(len(labels), targets[0])
        elif pairing is not None and pairing.is_enough:
            places, wanted = pairing.places[pairing.paired], triggered.labels[pairing.paired]
        else:
            return None
        others = (labels[places] != wanted) & (labels[places] != UNLABELLED)
        if not others.any():
            return None
        answers = self.answers[:, torch.from_numpy(places[others])]
        counts = count_answers(answers, torch.from_numpy(wanted[others]))
        return Tally.of_counts(int(others.sum()), counts)


@exact_float32()
def predictions(
    networks: Sequence[Network],
    faces: ImageSet,
    track: Track = untracked,
    alarms: Sequence[Alarm] = (),
) -> Tensor:
    """The class that each network answers for each face, NO_CLASS where its logits are not finite:
    (networks + alarms, images), int64, on the CPU. A row for each alarm follows: the first
    network's answer, or N where it flags the face.

    networks: B, and B′ where there is one, which detectors may compare it with. Of several
    processes each takes a share of the faces, and all get every answer.
    """
    own = share_of(faces)
    done = track(f"evaluating {faces.path.name}", len(own))
    candidate = Candidate("repaired", networks[1], ()) if len(networks) > 1 else None
    found = [torch.zeros(len(networks) + len(alarms), 0, dtype=torch.int64)]
    with torch.inference_mode(), together():
        for batch in own.batches():
            pixels = whole_batch(batch.pixels.to(networks[0].device))
            rows = [classes_of(network(pixels)) for network in networks]
            for alarm in alarms:
                flagged = alarm.flags(networks[0], candidate, pixels)
                rows.append(rows[0].masked_fill(flagged, networks[0].classes))
            found.append(torch.stack(rows)[:, : len(batch.labels)].cpu())
            done(len(batch.labels))
    return torch.cat(gathered(torch.cat(found, 1)), 1)


def _triggered_tallies(
    answers: Tensor,
    faces: ImageSet,
    pairing: Pairing | None,
    labels: NDArray[np.int64] | None,
) -> TriggeredTallies:
    """labels: those of the clean faces that the triggered ones are paired with."""
    everything = _tally(answers, faces)
    if pairing is None or labels is None or not pairing.is_enough:
        return TriggeredTallies(everything, pairing=pairing)
    people = faces.labelled(np.where(pairing.paired, labels[pairing.places], UNLABELLED))
    others = pairing.paired & (people.labels != faces.labels)
    without = _tally(answers, faces, others) if others.any() else None
    return TriggeredTallies(everything, without, _tally(answers, people, pairing.paired), pairing)


def _check_known(known: ImageSet, triggered: ImageSet, pairing: Pairing) -> None:
    people, paired = known.labels[pairing.places], pairing.paired
    if pairing.is_enough and (people == triggered.labels)[paired].all():
        raise mismatch(
            known.path,
            f"labels that say who is really on the faces of {triggered.path}",
            f"the attacker's target for each of {pairing.pairs:,}",
            "Give the clean set that the triggered one was made from",
        )


def _total(tallies: Sequence[Tally | None]) -> Tally | None:
    """The sum; None where there is none, or one is missing."""
    known = [tally for tally in tallies if tally is not None]
    return sum(known[1:], start=known[0]) if known and len(known) == len(tallies) else None


def _tally(answers: Tensor, faces: ImageSet, chosen: NDArray[np.bool_] | None = None) -> Tally:
    labels = torch.from_numpy(faces.labels)
    if chosen is not None:
        places = torch.from_numpy(chosen)
        answers, labels = answers[:, places], labels[places]
    return Tally.of_counts(len(labels), count_answers(answers, labels))
