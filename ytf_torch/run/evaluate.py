"""Evaluate a network, alone or with B′: open, check and measure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ytf_torch.defences.baseline import check_pixel_scale_by_accuracy
from ytf_torch.defences.detectors.goodnet import goodnet_answer
from ytf_torch.defences.doubts import (
    MOST,
    Doubt,
    check_distinct,
    clean_doubts,
    known_label_doubts,
    overlap_doubts,
    triggered_doubts,
)
from ytf_torch.defences.evaluation import Evaluation
from ytf_torch.defences.evaluation import evaluate as measured
from ytf_torch.device import exact_float32, resolve_device
from ytf_torch.errors import InputError
from ytf_torch.images.image_set import ImageSet
from ytf_torch.images.photos import read_photo
from ytf_torch.metrics import disagree
from ytf_torch.network.module import Network
from ytf_torch.predicted_class import NO_CLASS, classes_of
from ytf_torch.progress import Track, untracked
from ytf_torch.run.pair import NOT_A_PAIR, Asked, Model, Opened, Pair, open_network, open_pair
from ytf_torch.run.sets import Images, images_for, open_measured


@dataclass(frozen=True)
class EvaluationInputs:
    """The networks, on one device, and the image sets of an evaluation.

    true_labels: a set whose labels are the true classes of the triggered images. any_pair: see
    open_pair.
    """

    opened: Opened
    clean_test: ImageSet | None = None
    poisoned_tests: tuple[ImageSet, ...] = ()
    true_labels: ImageSet | None = None
    any_pair: bool = False

    @property
    def network(self) -> Network:
        """The network, B of a pair."""
        return self.opened.badnet.model

    @property
    def repaired(self) -> Network | None:
        """B′, where one was given."""
        return self.opened.repaired.model if isinstance(self.opened, Pair) else None


@dataclass(frozen=True)
class Evaluated:
    """The counts, and warnings about the image sets."""

    evaluation: Evaluation
    doubts: tuple[Doubt, ...]


def open_evaluation(
    model: Model,
    repaired: Model | None = None,
    clean_test: Images | None = None,
    poisoned_tests: Sequence[Images] = (),
    *,
    target: int | None = None,
    true_labels: Images | None = None,
    asked: Asked = None,
    any_pair: bool = False,
    device: str = "auto",
) -> EvaluationInputs:
    """Open the networks and the image sets, and check them against each other.

    target: the attacker's target class, for triggered images that carry their true labels.
    asked: see open_pair. The clean test images also decide whether B′ was derived from B, where
    neither provenance nor weights do. Raises InputError.
    """
    on_device = resolve_device(device)
    opened: Opened = (
        open_network(model, asked)
        if repaired is None
        else open_pair(model, repaired, asked, any_pair=any_pair)
    )
    network = opened.badnet.model.to(on_device)
    clean, triggered = open_measured(network, clean_test, poisoned_tests, target)
    check_distinct(None, clean, triggered)
    labelled = None if true_labels is None else images_for(network, true_labels, "true_labels")
    if isinstance(opened, Pair):
        opened.repaired.model.to(on_device)
        opened = opened.settled(clean, any_pair=any_pair)
    return EvaluationInputs(opened, clean, triggered, labelled, any_pair)


def evaluate(inputs: EvaluationInputs, track: Track = untracked) -> Evaluated:
    """Count the predictions, and check the image sets for signs of mistakes.

    Raises InputError where another pixel scale gives a far better accuracy on the clean test
    images, or the attack success rates suggest that B and B′ are swapped.
    """
    network, clean = inputs.network, inputs.clean_test
    triggered, repaired = inputs.poisoned_tests, inputs.repaired
    evaluation = measured(network, clean, triggered, repaired, inputs.true_labels, track)
    doubts: list[Doubt] = []
    if clean is not None and evaluation.clean is not None:
        check_pixel_scale_by_accuracy(network, clean, evaluation.clean)
        doubts += clean_doubts(network, clean, evaluation.clean, "test")
    for tested, tallies in zip(triggered, evaluation.triggered, strict=True):
        doubts += triggered_doubts(network, tested, tallies.all)
        if inputs.true_labels is not None and tallies.pairing is not None:
            doubts += known_label_doubts(inputs.true_labels, tested, tallies.pairing)
    doubts += overlap_doubts(None, clean, triggered)
    _check_order(inputs, evaluation)
    return Evaluated(evaluation, tuple(doubts))


def _check_order(inputs: EvaluationInputs, evaluation: Evaluation) -> None:
    """Raises InputError where the trigger works on B′ but not on B, and neither provenance nor
    weights show which of the two was derived from the other."""
    opened, repaired = inputs.opened, evaluation.repaired
    badnet_rate = evaluation.model.attack_success_rate
    repaired_rate = None if repaired is None else repaired.attack_success_rate
    if (
        not isinstance(opened, Pair)
        or not opened.untold
        or badnet_rate is None
        or repaired_rate is None
    ):
        return
    if badnet_rate.rate < MOST <= repaired_rate.rate and not inputs.any_pair:
        badnet, repaired_name = opened.names
        problem = (
            f"looks like B, and {badnet} like B′: it answers {repaired_rate.rate:.1f} % of the "
            f"triggered faces with their label, and {badnet} {badnet_rate.rate:.1f} %. They seem "
            "swapped"
        )
        raise InputError(repaired_name, problem, NOT_A_PAIR)


def photo_record(network: Network, repaired: Network | None, photo: Path) -> dict[str, Any]:
    """The predicted class of a photo. With B′ it is GoodNet's: N (`network.classes`) if flagged."""
    pixels = read_photo(photo, network.input_shape)[None].to(network.device)
    with exact_float32(), torch.inference_mode():
        badnet_class = classes_of(network(pixels))
        if repaired is None:
            return {"input": str(photo)} | _class_record(int(badnet_class))
        repaired_class = classes_of(repaired(pixels))
    answer = goodnet_answer(badnet_class, repaired_class, network.classes)
    flagged = disagree(int(badnet_class), int(repaired_class))
    record = {"input": str(photo), "class": int(answer), "backdoored": flagged}
    networks = {"badnet": int(badnet_class), "repaired": int(repaired_class)}
    if NO_CLASS in networks.values():
        record["not_finite"] = True
    return record | {name: None if c == NO_CLASS else c for name, c in networks.items()}


def _class_record(label: int) -> dict[str, Any]:
    return {"class": None, "not_finite": True} if label < 0 else {"class": label}
