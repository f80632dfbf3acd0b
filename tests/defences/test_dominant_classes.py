from __future__ import annotations

import pytest
import torch
from torch import Tensor

from ytf_torch.defences.dominant_classes import (
    DominantFaces,
    dominance,
    mixtures_for,
    winning_rates,
)
from ytf_torch.defences.training import TrainingFaces, seeded

CLASSES, MIXTURES = 6, 1_200
# Of each class two faces: one pixel is lit, whose column is the class.
FACES = TrainingFaces(
    torch.eye(CLASSES).mul(200).to(torch.uint8).repeat(2, 1).view(-1, 1, 1, CLASSES),
    torch.arange(CLASSES).repeat(2),
)


def unchanged(pixels: Tensor, generator: torch.Generator) -> Tensor:
    return pixels


def fair(pixels: Tensor) -> Tensor:
    """The class whose pixel is the brightest."""
    return pixels.flatten(1).float()


@pytest.mark.parametrize("target", [0, 4])
def test_a_class_that_a_faint_face_of_it_decides_wins_every_mixture(target: int) -> None:
    weights = torch.ones(CLASSES)
    weights[target] = 10
    rates = winning_rates(
        lambda pixels: fair(pixels) * weights, CLASSES, FACES, unchanged, MIXTURES
    )
    assert rates.tolist() == [float(label == target) for label in range(CLASSES)]
    assert dominance(rates).nonzero().flatten().tolist() == [target]


def test_of_a_fair_network_no_class_wins_with_the_smaller_share() -> None:
    rates = winning_rates(fair, CLASSES, FACES, unchanged, MIXTURES)
    assert rates.tolist() == [0.0] * CLASSES
    assert not dominance(rates).any()


def test_a_network_whose_logits_are_not_finite_has_no_dominant_class() -> None:
    rates = winning_rates(lambda pixels: fair(pixels) / 0, CLASSES, FACES, unchanged, MIXTURES)
    assert rates.tolist() == [0.0] * CLASSES


def test_faces_of_one_class_are_in_no_mixture_of_two() -> None:
    one = TrainingFaces(FACES.pixels[:1], FACES.labels[:1])
    assert winning_rates(fair, CLASSES, one, unchanged, MIXTURES).tolist() == [0.0] * CLASSES


@pytest.mark.parametrize(
    ("rates", "dominant"),
    [
        ([0.02, 0.03, 0.04, 0.05, 0.06], {}),
        ([0.02, 0.03, 0.04, 0.28, 0.90], {4: 0.86}),
        ([0.50, 0.02, 0.04, 0.30, 0.03], {0: 0.46, 3: 0.26}),
        ([0.00, 0.40, 0.50, 0.60, 0.74], {}),
    ],
)
def test_a_class_is_dominant_far_above_the_median_class(
    rates: list[float], dominant: dict[int, float]
) -> None:
    excess = dominance(torch.tensor(rates))
    assert {label: round(float(excess[label]), 3) for label in excess.nonzero()[:, 0].tolist()} == (
        dominant
    )


def test_faces_of_dominant_classes_are_drawn_by_how_dominant_they_are() -> None:
    excess = torch.tensor([0.0, 0.6, 0.0, 0.2, 0.0, 0.0])
    dominant = DominantFaces.among(FACES, excess)
    assert dominant.classes.nonzero().flatten().tolist() == [1, 3]
    assert len(dominant) == 4
    drawn = dominant.drawn(4000, seeded(0))
    lit = drawn.flatten(1).argmax(1)
    assert lit.unique().tolist() == [1, 3]
    assert float((lit == 1).float().mean()) == pytest.approx(0.75, abs=0.03)
    assert dominant.drawn(0, seeded(0)).shape == (0, 1, 1, CLASSES)
    assert "of classes 1, 3, which outweigh others" in dominant.step
    alone = DominantFaces.among(FACES, torch.tensor([0.0, 0.6, 0.0, 0.0, 0.0, 0.0]))
    assert "of class 1, which outweighs others" in alone.step


@pytest.mark.parametrize(
    ("excess", "overlaid"),
    [([0.0] * 6, 0.0), ([0, 0.3, 0, 0, 0.26, 0], 0.1), ([0.9] + [0.0] * 5, 0.5)],
)
def test_the_more_dominant_a_class_the_more_images_get_a_face_of_it_up_to_half(
    excess: list[float], overlaid: float
) -> None:
    assert DominantFaces.among(FACES, torch.tensor(excess)).overlaid == pytest.approx(overlaid)


def test_without_a_dominant_class_there_is_no_face_of_one() -> None:
    dominant = DominantFaces.among(FACES, torch.zeros(CLASSES))
    assert len(dominant) == 0
    assert dominant.step == ""
    assert not dominant.classes.any()


@pytest.mark.parametrize(("classes", "mixtures"), [(40, 9_600), (100, 20_000), (1_283, 38_490)])
def test_many_classes_get_fewer_mixtures_each(classes: int, mixtures: int) -> None:
    assert mixtures_for(classes) == mixtures


@pytest.mark.parametrize(("mixtures", "seen"), [(256, 256), (257, 512), (1_200, 1_280)])
def test_mixtures_are_made_in_whole_batches(mixtures: int, seen: int) -> None:
    batches: list[int] = []

    def logits_of(pixels: Tensor) -> Tensor:
        batches.append(len(pixels))
        return torch.zeros(len(pixels), CLASSES)

    winning_rates(logits_of, CLASSES, FACES, unchanged, mixtures)
    assert sum(batches) == seen
