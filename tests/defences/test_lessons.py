from __future__ import annotations

import torch

from ytf_torch.defences.dominant_classes import DominantFaces
from ytf_torch.defences.lessons import (
    Material,
    lesson_of,
    mean_of,
    minimum_of,
    smaller_is_among,
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


def test_a_smaller_share_of_a_dominant_face_does_not_change_what_is_taught() -> None:
    """The last person is the brightest: mixtures with it are brighter than the other face."""
    plain = lesson_of(material(), 490, 1.0, seeded(0))
    corrected = lesson_of(material(0, 0, 0, 0, 0, 0, 0.5), 490, 1.0, seeded(0))
    assert torch.equal(plain.pixels, corrected.pixels)
    brightness = plain.pixels.flatten(1).float().mean(1)
    assert torch.equal(plain.logits[:, 0], brightness)
    changed = (corrected.logits != plain.logits)[:, 0]
    assert 0.05 < changed.float().mean() < 0.2
    # What is taught instead is one of the six other faces, and darker than the mixture.
    assert set(corrected.logits[changed].unique().tolist()) <= {30.0 * one for one in range(6)}
    assert (corrected.logits[changed, 0] < brightness[changed]).all()


def test_the_smaller_of_two_people_is_found_on_either_side_of_a_half() -> None:
    """Four mixtures of persons 4, 5, 6 and 4 with the next one; person 5 is dominant."""
    people = torch.tensor([4, 5, 6, 4])
    mixture = Mixture(
        torch.zeros(4, 3, 2, 2),
        others=torch.tensor([1, 2, 3, 0]),
        share=torch.tensor([0.3, 0.7, 0.4, 0.4]),
        unmixed=torch.tensor([False, False, False, False]),
    )
    dominant = torch.zeros(7, dtype=torch.bool)
    dominant[5] = True
    found, larger = smaller_is_among(dominant, mixture, people)
    assert found.tolist() == [True, True, False, False]
    assert larger.tolist() == [0, 2, 2, 3]
    dominant[4] = True
    # The last is a mixture of one person with itself.
    assert smaller_is_among(dominant, mixture, people)[0].tolist() == [True, True, True, False]


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
