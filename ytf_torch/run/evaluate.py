"""An evaluation of a network, alone or with B′: opened, checked, measured."""

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
    """What an evaluation is of, all on one device.

    true_labels: a set whose labels say who is on the triggered faces. any_pair: see open_pair.
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
    """The counts, and what looks wrong about the face sets."""

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
    """The networks and the face sets, checked against each other; B′ is judged by its answers to
    the clean test faces where nothing else tells that it was made from B.

    target: the attacker's, for triggered faces that carry their true labels. asked: see open_pair.
    Raises InputError.
    """
    placed = resolve_device(device)
    opened: Opened = (
        open_network(model, asked)
        if repaired is None
        else open_pair(model, repaired, asked, any_pair=any_pair)
    )
    network = opened.badnet.model.to(placed)
    clean, triggered = open_measured(network, clean_test, poisoned_tests, target)
    check_distinct(None, clean, triggered)
    known = None if true_labels is None else images_for(network, true_labels, "true_labels")
    if isinstance(opened, Pair):
        opened.repaired.model.to(placed)
        opened = opened.settled(clean, any_pair=any_pair)
    return EvaluationInputs(opened, clean, triggered, known, any_pair)


def evaluate(inputs: EvaluationInputs, track: Track = untracked) -> Evaluated:
    """Count the answers, and look the face sets over.

    Raises InputError where another pixel scale recognises the clean test faces far better, or B and
    B′ answer the triggered faces as if they were swapped.
    """
    network, clean = inputs.network, inputs.clean_test
    triggered, copy = inputs.poisoned_tests, inputs.repaired
    found = measured(network, clean, triggered, copy, inputs.true_labels, track)
    doubts: list[Doubt] = []
    if clean is not None and found.clean is not None:
        check_pixel_scale_by_accuracy(network, clean, found.clean)
        doubts += clean_doubts(network, clean, found.clean, "test")
    for tested, tallies in zip(triggered, found.triggered, strict=True):
        doubts += triggered_doubts(network, tested, tallies.all)
        if inputs.true_labels is not None and tallies.pairing is not None:
            doubts += known_label_doubts(inputs.true_labels, tested, tallies.pairing)
    doubts += overlap_doubts(None, clean, triggered)
    _check_order(inputs, found)
    return Evaluated(found, tuple(doubts))


def _check_order(inputs: EvaluationInputs, found: Evaluation) -> None:
    """Raises InputError where B′ obeys the trigger and B does not, and neither provenance nor
    weights tell which of the two was made from the other."""
    opened, repaired = inputs.opened, found.repaired
    before = found.model.attack_success_rate
    after = None if repaired is None else repaired.attack_success_rate
    if not isinstance(opened, Pair) or not opened.untold or before is None or after is None:
        return
    if before.rate < MOST <= after.rate and not inputs.any_pair:
        badnet, copy = opened.names
        problem = (
            f"looks like B, and {badnet} like B′: it answers {after.rate:.1f} % of the triggered "
            f"faces with their label, and {badnet} {before.rate:.1f} %. They seem swapped"
        )
        raise InputError(copy, problem, NOT_A_PAIR)


def photo_record(network: Network, copy: Network | None, photo: Path) -> dict[str, Any]:
    """The class of a photo; with B′ it is GoodNet's, and N where it flags the photo."""
    pixels = read_photo(photo, network.input_shape)[None].to(network.device)
    with exact_float32(), torch.inference_mode():
        own = classes_of(network(pixels))
        if copy is None:
            return {"input": str(photo)} | _class_record(int(own))
        others = classes_of(copy(pixels))
    answer = goodnet_answer(own, others, network.classes)
    flagged = disagree(int(own), int(others))
    record = {"input": str(photo), "class": int(answer), "backdoored": flagged}
    networks = {"badnet": int(own), "repaired": int(others)}
    if NO_CLASS in networks.values():
        record["not_finite"] = True
    return record | {name: None if c == NO_CLASS else c for name, c in networks.items()}


def _class_record(label: int) -> dict[str, Any]:
    return {"class": None, "not_finite": True} if label < 0 else {"class": label}
