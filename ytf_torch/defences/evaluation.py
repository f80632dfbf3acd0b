"""Evaluation of a network on image sets: alone, as GoodNet with a repaired copy, and behind
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

# Rows of predictions and of tallies; detectors follow.
MODEL, REPAIRED = 0, 1
CORRECT, GOODNET_CORRECT, FLAGGED = map(attrgetter, ("correct", "goodnet_correct", "flagged"))
NO_ALARMS: Mapping[str, Alarm] = MappingProxyType({})


@dataclass(frozen=True)
class TriggeredTallies:
    """Counts on one triggered set.

    all: predictions of the attacker's target, over all images. without_target: the same over the
    images whose true class is another one. by_true_class: predictions of the true class. The latter
    two need the true classes, so they cover the images that are paired with a clean one, and are
    None where these are too few. pairing: None if there was no clean set to pair with.
    clean_to_target: predictions of the target on clean images of other classes; None where it is
    unknown which target the attacker wants for them.
    """

    all: Tally
    without_target: Tally | None = None
    by_true_class: Tally | None = None
    pairing: Pairing | None = field(default=None, compare=False)
    clean_to_target: Tally | None = None


@dataclass(frozen=True)
class Evaluation:
    """Counts on clean and triggered images.

    In a Tally, index 0 is the network and 1 its repaired copy, if there is one. The detectors
    follow: each predicts the network's class, or N where it flags an image. clean: counts on the
    clean test set. triggered: counts on each triggered set, in the given order.

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
        """Figures of the network itself."""
        return self._figures(MODEL)

    @property
    def repaired(self) -> Figures | None:
        """Figures of the repaired network alone; None if there is none."""
        return self._figures(REPAIRED) if self.with_repaired else None

    @property
    def goodnet(self) -> Figures | None:
        """Figures of both as GoodNet. The attack does not succeed on a flagged triggered image."""
        return self._guarded(REPAIRED) if self.with_repaired else None

    def detector(self, name: str) -> Figures:
        """Figures of the network behind a detector; a flagged image counts as no class."""
        return self._guarded(1 + self.with_repaired + self.detectors.index(name))

    def of_set(self, triggered: TriggeredTallies) -> Evaluation:
        """This evaluation restricted to one triggered set, without the clean sets."""
        return replace(self, clean=None, clean_valid=None, triggered=(triggered,))

    @property
    def pairing(self) -> Pairing | None:
        """The pairing of the triggered images of all sets with clean ones; None where a set has no
        pairing."""
        pairings = [part.pairing for part in self.triggered if part.pairing is not None]
        if not pairings or len(pairings) < len(self.triggered):
            return None
        return Pairing(np.concatenate([pairing.places for pairing in pairings]))

    @property
    def _triggered(self) -> tuple[Tally | None, Tally | None, Tally | None]:
        """`all`, `without_target` and `by_true_class`, each summed over all triggered sets; None
        where one set lacks it."""
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
        """Figures where a prediction that differs from row MODEL counts as flagged."""
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
    """Count the predictions of a network, of GoodNet if a repaired copy is given, and of detectors.

    poisoned_tests: triggered images, labelled with the attacker's target. known_labels: a clean set
    with the true labels of the triggered images, by default `clean_test`; images are paired by
    their content. pairings: that of each triggered set, if already computed. alarms: calibrated
    detectors by name.
    Raises InputError if `known_labels` gives every paired triggered image the target as its label.

    >>> images = ytf_torch.open_images(Path("test.h5"), network.input_shape, network.classes)
    >>> evaluate(network, images).model.clean_accuracy
    100.00 % (86.20–100.00), 24 of 24
    """
    networks = [network] if repaired is None else [network, repaired]
    detectors = tuple(alarms.values())

    def predicted(images: ImageSet | None) -> _Predicted | None:
        return (
            None
            if images is None
            else _Predicted(images, predictions(networks, images, track, detectors))
        )

    on_test, on_valid = predicted(clean_test), predicted(clean_valid)
    triggered = []
    clean = known_labels or clean_test
    if pairings is None and clean is not None:
        pairings = [images.paired_with(clean) for images in poisoned_tests]
    for index, images in enumerate(poisoned_tests):
        pairing = None if pairings is None else pairings[index]
        if known_labels is not None and pairing is not None:
            _check_true_labels(known_labels, images, pairing)
        classes = predictions(networks, images, track, detectors)
        labels = None if clean is None else clean.labels
        tallies = _triggered_tallies(classes, images, pairing, labels)
        clean_to_target = None
        if on_test is not None:
            # The pairing holds indices into `clean`: it fits on_test only if that is the test set.
            clean_to_target = on_test.by_target(images, pairing if clean is clean_test else None)
        elif on_valid is not None:
            clean_to_target = on_valid.by_target(images)
        triggered.append(replace(tallies, clean_to_target=clean_to_target))
    return Evaluation(
        clean=None if on_test is None else on_test.tally,
        triggered=tuple(triggered),
        with_repaired=repaired is not None,
        detectors=tuple(alarms),
        clean_valid=None if on_valid is None else on_valid.tally,
    )


@dataclass(frozen=True)
class _Predicted:
    """A clean set and the classes predicted for it, as `predictions` returns them."""

    images: ImageSet
    classes: Tensor

    @property
    def tally(self) -> Tally:
        return _tally(self.classes, self.images)

    def by_target(self, triggered: ImageSet, pairing: Pairing | None = None) -> Tally | None:
        """Counts of predictions of the attacker's target, on the images of other classes.

        A triggered set with one target sets it for all images. With several targets, an image's is
        that of the triggered image it is paired with; without enough pairs the result is None.
        """
        labels, unique_targets = self.images.labels, np.unique(triggered.labels)
        if len(unique_targets) == 1:
            indices, targets = np.arange(len(labels)), np.full(len(labels), unique_targets[0])
        elif pairing is not None and pairing.is_enough:
            indices, targets = pairing.places[pairing.paired], triggered.labels[pairing.paired]
        else:
            return None
        others = (labels[indices] != targets) & (labels[indices] != UNLABELLED)
        if not others.any():
            return None
        classes = self.classes[:, torch.from_numpy(indices[others])]
        counts = count_answers(classes, torch.from_numpy(targets[others]))
        return Tally.of_counts(int(others.sum()), counts)


@exact_float32()
def predictions(
    networks: Sequence[Network],
    images: ImageSet,
    track: Track = untracked,
    alarms: Sequence[Alarm] = (),
) -> Tensor:
    """The predicted classes: (networks + alarms, images), int64, on the CPU.

    A row for each network, with NO_CLASS where its logits are not finite, then a row for each
    alarm: the first network's class, or N where the alarm flags the image.

    networks: B, and optionally B′, with which detectors may compare it. With several processes each
    predicts its share of the images, and all return all predictions.
    """
    local_images = share_of(images)
    done = track(f"evaluating {images.path.name}", len(local_images))
    candidate = Candidate("repaired", networks[1], ()) if len(networks) > 1 else None
    # The empty tensor is for a process whose share is empty: torch.cat needs at least one.
    columns = [torch.zeros(len(networks) + len(alarms), 0, dtype=torch.int64)]
    with torch.inference_mode(), together():
        for batch in local_images.batches():
            # Padded to full batches, so that logits do not depend on how the set is divided.
            pixels = whole_batch(batch.pixels.to(networks[0].device))
            rows = [classes_of(network(pixels)) for network in networks]
            for alarm in alarms:
                flagged = alarm.flags(networks[0], candidate, pixels)
                rows.append(rows[0].masked_fill(flagged, networks[0].classes))
            columns.append(torch.stack(rows)[:, : len(batch.labels)].cpu())
            done(len(batch.labels))
    return torch.cat(gathered(torch.cat(columns, 1)), 1)


def _triggered_tallies(
    classes: Tensor,
    images: ImageSet,
    pairing: Pairing | None,
    labels: NDArray[np.int64] | None,
) -> TriggeredTallies:
    """labels: of the clean set that `pairing` refers to, the true classes."""
    everything = _tally(classes, images)
    if pairing is None or labels is None or not pairing.is_enough:
        return TriggeredTallies(everything, pairing=pairing)
    true = images.labelled(np.where(pairing.paired, labels[pairing.places], UNLABELLED))
    others = pairing.paired & (true.labels != images.labels)
    without = _tally(classes, images, others) if others.any() else None
    return TriggeredTallies(everything, without, _tally(classes, true, pairing.paired), pairing)


def _check_true_labels(clean: ImageSet, triggered: ImageSet, pairing: Pairing) -> None:
    """Raises InputError if every paired image has the attacker's target as its true label: then the
    set given for true labels is a triggered one too."""
    true_labels, paired = clean.labels[pairing.places], pairing.paired
    if pairing.is_enough and (true_labels == triggered.labels)[paired].all():
        raise mismatch(
            clean.path,
            f"labels that say who is really on the faces of {triggered.path}",
            f"the attacker's target for each of {pairing.pairs:,}",
            "Give the clean set that the triggered one was made from",
        )


def _total(tallies: Sequence[Tally | None]) -> Tally | None:
    """The sum; None if there are no tallies or one of them is None."""
    present = [tally for tally in tallies if tally is not None]
    return sum(present[1:], start=present[0]) if present and len(present) == len(tallies) else None


def _tally(classes: Tensor, images: ImageSet, chosen: NDArray[np.bool_] | None = None) -> Tally:
    """Counts of the predicted classes (rows, images), over all images or those in `chosen`."""
    labels = torch.from_numpy(images.labels)
    if chosen is not None:
        mask = torch.from_numpy(chosen)
        classes, labels = classes[:, mask], labels[mask]
    return Tally.of_counts(len(labels), count_answers(classes, labels))
