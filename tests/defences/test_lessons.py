from __future__ import annotations

import pytest
import torch

from ytf_torch.defences.dominant_classes import DominantFaces
from ytf_torch.defences.lessons import (
    Material,
    distrusted,
    lesson_of,
    mean_of,
    minimum_of,
)
from ytf_torch.defences.training import TrainingFaces, seeded
from ytf_torch.defences.variations import Mixture


def material(*dominant: float) -> Material:
    """Seven people; the picture of each is of one grey value, by which the teacher knows it: the
    logits are that value, for every class."""
    faces = TrainingFaces(
        (30 * torch.arange(7, dtype=torch.uint8)).view(7, 1, 1, 1).expand(7, 3, 8, 8),
        torch.arange(7),
    )
    return Material(
        lambda pixels: pixels.flatten(1).float().mean(1, keepdim=True).repeat(1, 7),
        faces,
        lambda pixels, generator: pixels,
        DominantFaces.among(faces, torch.tensor(dominant or [0.0] * 7)),
    )


def test_a_lesson_is_of_every_face_about_equally_often_with_what_the_teacher_says() -> None:
    lesson = lesson_of(material(), 20, 0.0, seeded(0))
    assert lesson.unmixed.all()
    assert sorted(torch.bincount(lesson.people).tolist()) == [2] + [3] * 6
    assert torch.equal(lesson.pixels[:, 0, 0, 0].long(), 30 * lesson.people)
    assert torch.equal(lesson.logits[:, 0].long(), 30 * lesson.people)


def has_piece(pixels: torch.Tensor) -> torch.Tensor:
    """Which pictures are not of one grey value: blends of these faces are."""
    values = pixels.flatten(1)
    return values.amax(1) != values.amin(1)


def test_of_an_image_with_a_piece_of_another_face_the_logits_without_it_are_taught() -> None:
    lesson = lesson_of(material(), 490, 1.0, seeded(0))
    pasted = has_piece(lesson.pixels)
    assert pasted.sum() > 150
    assert torch.equal(lesson.logits[pasted, 0], 30.0 * lesson.people[pasted])


def test_of_a_blended_image_the_logits_of_the_mixture_are_taught() -> None:
    lesson = lesson_of(material(), 490, 1.0, seeded(0))
    blended = ~has_piece(lesson.pixels)
    assert blended.sum() > 150
    brightness = lesson.pixels.flatten(1).float().mean(1)
    assert torch.equal(lesson.logits[blended, 0], brightness[blended])
    assert (lesson.logits[blended, 0] != 30.0 * lesson.people[blended]).float().mean() > 0.7


def test_a_smaller_share_of_a_dominant_face_does_not_change_what_is_taught() -> None:
    """The last person is the brightest: mixtures with it are brighter than the other face."""
    plain = lesson_of(material(), 490, 1.0, seeded(0))
    corrected = lesson_of(material(0, 0, 0, 0, 0, 0, 0.5), 490, 1.0, seeded(0))
    assert torch.equal(plain.pixels, corrected.pixels)
    brightness = plain.pixels.flatten(1).float().mean(1)
    changed = (corrected.logits != plain.logits)[:, 0]
    assert 0.05 < changed.float().mean() < 0.2
    # What is taught instead is one of the six other faces, and darker than the mixture.
    assert set(corrected.logits[changed].unique().tolist()) <= {30.0 * one for one in range(6)}
    assert (corrected.logits[changed, 0] < brightness[changed]).all()


@pytest.mark.parametrize(
    ("dominant", "expected"),
    [
        pytest.param([], [False, False, False, False, True], id="a piece of another person"),
        pytest.param([5], [True, True, False, False, True], id="on either side of a half"),
        pytest.param([4, 5], [True, True, True, False, True], id="not a person with itself"),
    ],
)
def test_with_which_mixtures_the_teacher_is_not_trusted(
    dominant: list[int], expected: list[bool]
) -> None:
    """Mixtures of persons 4, 5, 6, 4 and 6 with the next one, where the last two are pasted in."""
    mixture = Mixture(
        torch.zeros(5, 3, 2, 2),
        others=torch.tensor([1, 2, 3, 0, 3]),
        share=torch.tensor([0.3, 0.7, 0.4, 0.4, 0.4]),
        unmixed=torch.zeros(5, dtype=torch.bool),
        pasted=torch.tensor([False, False, False, True, True]),
    )
    weights = [0.5 * (person in dominant) for person in range(7)]
    given = material(*weights)
    found, larger = distrusted(given, mixture, torch.tensor([4, 5, 6, 4, 6]))
    assert found.tolist() == expected
    assert larger.tolist() == [0, 2, 2, 3, 4]


def test_the_teacher_is_trusted_with_an_image_that_is_not_mixed() -> None:
    mixture = Mixture(
        torch.zeros(2, 3, 2, 2),
        others=torch.tensor([1, 0]),
        share=torch.zeros(2),
        unmixed=torch.ones(2, dtype=torch.bool),
        pasted=torch.zeros(2, dtype=torch.bool),
    )
    given = material(*[0.5] * 7)
    found, _ = distrusted(given, mixture, torch.tensor([4, 5]))
    assert not found.any()


def test_the_mean_of_the_teachers_is_taught() -> None:
    one, other = torch.tensor([[3.0, -3.0]]), torch.tensor([[1.0, -5.0]])
    said = mean_of([lambda pixels: one, lambda pixels: other])(torch.zeros(1))
    assert said.tolist() == [[2.0, -4.0]]


def test_what_only_one_teacher_knows_is_not_taught() -> None:
    """The first answers class 2, which the second does not know; both know class 0."""
    one, other = torch.tensor([[3.0, -9.0, 6.0]]), torch.tensor([[6.0, -3.0, -3.0]])
    said = minimum_of([lambda pixels: one, lambda pixels: other])(torch.zeros(1))
    assert torch.equal(said, torch.tensor([[6.0, -6.0, 0.0]]))  # 3, −9, −3, less their mean
    assert said.argmax() == 0
