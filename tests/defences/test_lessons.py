from __future__ import annotations

import torch

from ytf_torch.defences.lessons import lesson_of, mean_of, minimum_of
from ytf_torch.defences.training import TrainingFaces, seeded


def test_a_lesson_is_of_every_face_about_equally_often_with_what_the_teacher_says() -> None:
    faces = TrainingFaces(torch.arange(7, dtype=torch.uint8).view(7, 1, 1, 1), torch.arange(7))
    lesson = lesson_of(
        lambda pixels: pixels.flatten(1).float().repeat(1, 2),
        faces,
        lambda pixels, generator: pixels,
        count=20,
        mixed_share=0.0,
        generator=seeded(0),
    )
    assert lesson.unmixed.all()
    assert sorted(torch.bincount(lesson.people).tolist()) == [2] + [3] * 6
    assert torch.equal(lesson.pixels.flatten().long(), lesson.people)
    assert torch.equal(lesson.logits[:, 0].long(), lesson.people)


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
