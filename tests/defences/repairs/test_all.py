"""What holds of every repair."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable

import pytest
import torch

from tests.made.badnet import MadeBadNet
from tests.made.preprocessed import PREPROCESSINGS, reading_as
from ytf_torch.defences.base import Repair
from ytf_torch.defences.lessons import Lesson, Material, lesson_of
from ytf_torch.defences.repairs import distillation
from ytf_torch.defences.repairs.distillation import (
    TUNED_OCCLUDED,
    Distillation,
    interpolate_weights,
)
from ytf_torch.defences.repairs.fine_tuning import FineTuning
from ytf_torch.defences.repairs.ft_sam import SharpnessAwareFineTuning
from ytf_torch.defences.repairs.i_bau import AdversarialUnlearning
from ytf_torch.defences.training import Augment, TrainingFaces, augmentation_for, seeded
from ytf_torch.defences.variations import occlude
from ytf_torch.images.image_set import ImageSet
from ytf_torch.network.module import Network
from ytf_torch.progress import untracked

REPAIRS: dict[str, Repair] = {
    "fine-tuning": FineTuning(learning_rate=5e-3, epochs=8, batch=32),
    "distillation": Distillation(
        rounds=5, lesson=480, passes=4, batch=32, fine_tuning=FineTuning(epochs=8, batch=32)
    ),
    "ft-sam": SharpnessAwareFineTuning(radius=0.3, epochs=5, batch=32),
    "i-bau": AdversarialUnlearning(rounds=2, batch=50),
}


@pytest.mark.parametrize("name", REPAIRS)
def test_a_repair_leaves_the_network_as_it_is_and_gives_another_of_its_kind(
    name: str, badnet: MadeBadNet, clean_valid: ImageSet
) -> None:
    before = {key: value.clone() for key, value in badnet.network.state_dict().items()}
    (candidate,) = REPAIRS[name].candidates(badnet.network, clean_valid, untracked)
    assert not candidate.network.training
    assert candidate.network.classes == badnet.network.classes
    assert candidate.network.pixel_scale == badnet.network.pixel_scale
    assert all(bool(value.isfinite().all()) for value in candidate.network.state_dict().values())
    assert "160 clean faces" in candidate.history[0]
    changed = candidate.network.state_dict()
    assert any(not torch.equal(changed[key], before[key]) for key in before)
    for key, value in badnet.network.state_dict().items():
        assert torch.equal(value, before[key])


@pytest.mark.parametrize("name", REPAIRS)
def test_a_repaired_network_still_knows_the_people(
    name: str, badnet: MadeBadNet, clean_valid: ImageSet
) -> None:
    (candidate,) = REPAIRS[name].candidates(badnet.network, clean_valid, untracked)
    before = badnet.clean_accuracy(badnet.network)
    assert badnet.clean_accuracy(candidate.network) >= before - 10
    assert badnet.attack_success_rate(candidate.network) < 100


@pytest.mark.parametrize("read", ["tf", "caffe", "all at once"])
def test_a_student_reads_pixels_as_its_teacher_does(
    read: str, badnet: MadeBadNet, clean_valid: ImageSet
) -> None:
    network = reading_as(badnet.network, PREPROCESSINGS[read])
    (candidate,) = REPAIRS["distillation"].candidates(network, clean_valid, untracked)
    assert candidate.network.pixel_preprocessing == PREPROCESSINGS[read]
    assert badnet.clean_accuracy(candidate.network) >= badnet.clean_accuracy(network) - 10


@pytest.mark.parametrize("name", REPAIRS)
def test_equal_seeds_give_equal_networks(
    name: str, badnet: MadeBadNet, clean_valid: ImageSet
) -> None:
    once, again = (
        next(iter(REPAIRS[name].candidates(badnet.network, clean_valid, untracked))).network
        for _ in range(2)
    )
    for key, value in once.state_dict().items():
        assert torch.equal(value, again.state_dict()[key])


def test_the_worst_weights_of_ft_sam_are_at_its_radius(badnet: MadeBadNet) -> None:
    """In each weight's own size: the length of move ÷ |weight| is the radius."""
    network, faces, people = badnet.network, badnet.clean[:32], badnet.people[:32]
    moves = SharpnessAwareFineTuning.worst_moves(network, faces, people, 0.5)
    parts = [
        (move / weight.detach().abs()).nan_to_num(0)
        for move, weight in zip(moves, badnet.network.parameters(), strict=True)
    ]
    length = torch.stack([part.norm() for part in parts]).norm()
    assert float(length) == pytest.approx(0.5, rel=1e-4)


def test_a_radius_and_rate_at_which_ft_sam_forgets_the_people_are_quartered(
    badnet: MadeBadNet, clean_valid: ImageSet
) -> None:
    repair = SharpnessAwareFineTuning(radius=2.0, learning_rate=0.5, epochs=5, batch=32)
    (candidate,) = repair.candidates(badnet.network, clean_valid, untracked)
    assert re.search(r"at (0.25|0.0625|0.0156) of its radius", candidate.history[0])
    assert candidate.network.pixel_scale == badnet.network.pixel_scale
    before = badnet.clean_accuracy(badnet.network)
    assert badnet.clean_accuracy(candidate.network) >= before / 2


def test_a_rate_at_which_i_bau_forgets_the_people_is_quartered(
    badnet: MadeBadNet, clean_valid: ImageSet
) -> None:
    repair = AdversarialUnlearning(rounds=2, learning_rate=0.2, batch=50)
    (candidate,) = repair.candidates(badnet.network, clean_valid, untracked)
    assert re.search(r"at (0.25|0.0625|0.0156) of its learning rate", candidate.history[0])
    before = badnet.clean_accuracy(badnet.network)
    assert badnet.clean_accuracy(candidate.network) >= before / 2


def test_a_rate_at_which_the_people_are_forgotten_is_halved(
    badnet: MadeBadNet, clean_valid: ImageSet
) -> None:
    repair = FineTuning(learning_rate=0.1, epochs=8, batch=32)
    (candidate,) = repair.candidates(badnet.network, clean_valid, untracked)
    before = badnet.clean_accuracy(badnet.network)
    assert badnet.clean_accuracy(candidate.network) >= 0.85 * before


@pytest.mark.parametrize("count", [1, 3])
def test_a_few_faces_are_enough_to_run(
    count: int, badnet: MadeBadNet, clean_valid: ImageSet
) -> None:
    repair = Distillation(rounds=1, lesson=20, passes=1, fine_tuning=FineTuning(epochs=1))
    (candidate,) = repair.candidates(badnet.network, clean_valid.part(0, count), untracked)
    assert all(bool(value.isfinite().all()) for value in candidate.network.state_dict().values())


@pytest.mark.parametrize(
    ("faces", "lessons"), [(1, 12), (800, 12), (1764, 12), (6400, 12), (6401, 13), (11_547, 22)]
)
def test_more_faces_make_more_lessons_of_one_size(faces: int, lessons: int) -> None:
    assert Distillation().rounds_for(faces) == lessons


def test_of_fewer_lessons_more_faces_make_more_too() -> None:
    repair = Distillation(rounds=3, lesson=4800)
    assert [repair.rounds_for(faces) for faces in (1, 1200, 2400, 11_547)] == [3, 3, 5, 22]


@pytest.mark.parametrize(
    ("faces", "classes", "fresh"),
    [
        (1200, 40, True),
        (1200, 5, True),
        (480, 48, True),
        (480, 49, False),
        (1764, 196, False),
        (11_547, 1283, False),
    ],
)
def test_few_pictures_of_many_classes_are_no_start_from_nothing(
    faces: int, classes: int, *, fresh: bool
) -> None:
    assert Distillation().starts_fresh(faces, classes) == fresh


@pytest.mark.parametrize(
    ("faces", "classes", "rate", "epochs"), [(1200, 40, 1e-3, 24), (1764, 196, 2e-3, 12)]
)
def test_a_fresh_student_has_a_gentler_second_teacher(
    faces: int, classes: int, rate: float, epochs: int
) -> None:
    tuning = Distillation(fine_tuning=FineTuning(batch=32)).tuning_for(faces, classes)
    assert (tuning.learning_rate, tuning.epochs, tuning.batch) == (rate, epochs, 32)


@pytest.mark.parametrize(
    ("fresh", "passes", "lessons"), [(True, 4, 4), (True, 5, 6), (True, 1, 2), (False, 4, 2)]
)
def test_a_fresh_student_gets_other_images_after_half_of_the_passes(
    passes: int,
    lessons: int,
    *,
    fresh: bool,
    badnet: MadeBadNet,
    clean_valid: ImageSet,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made: list[int] = []

    def counted_lesson(
        material: Material, count: int, mixed_share: float, generator: torch.Generator
    ) -> Lesson:
        made.append(count)
        return lesson_of(material, count, mixed_share, generator)

    monkeypatch.setattr(distillation, "lesson_of", counted_lesson)
    monkeypatch.setattr(distillation, "IMAGES_OF_A_CLASS", 1 if fresh else 10**6)
    monkeypatch.setattr(distillation, "MOST_CYCLES", 1)
    repair = Distillation(rounds=2, lesson=20, passes=passes, fine_tuning=FineTuning(epochs=1))
    next(iter(repair.candidates(badnet.network, clean_valid.part(0, 4), untracked)))
    assert made == [20] * lessons


@pytest.mark.parametrize(("share", "same_as"), [(1.0, "other"), (0.0, "start")])
def test_weights_are_moved_towards_a_network_that_reads_other_pixels(
    share: float, same_as: str, badnet: MadeBadNet
) -> None:
    networks = {"start": copy.deepcopy(badnet.sound), "other": badnet.network}
    networks["start"].read_pixels_at(1 / 64)
    moved = copy.deepcopy(networks["start"])
    interpolate_weights(moved, badnet.network, share)
    assert moved.pixel_scale == 1 / 64
    assert badnet.network.pixel_scale != 1 / 64
    with torch.inference_mode():
        answers = moved(badnet.clean)
        torch.testing.assert_close(answers, networks[same_as](badnet.clean), rtol=1e-4, atol=1e-3)


def test_weights_half_way_are_the_mean(badnet: MadeBadNet) -> None:
    moved = copy.deepcopy(badnet.sound)
    interpolate_weights(moved, badnet.network, 0.5)
    weights = zip(
        moved.parameters(), badnet.sound.parameters(), badnet.network.parameters(), strict=True
    )
    for found, one, other in weights:
        torch.testing.assert_close(found, (one + other) / 2)


@pytest.mark.parametrize(
    ("repair", "expected"),
    [
        (  # At this rate nothing is learned: all cycles there may be.
            Distillation(
                rounds=1, lesson=20, passes=1, learning_rate=1.0, fine_tuning=FineTuning(epochs=1)
            ),
            [
                "fine-tuning a second teacher",
                "distilling",
                "distilling, cycle 2",
                "distilling, cycle 3",
            ],
        ),
        (
            Distillation(
                rounds=1, lesson=4000, passes=4, batch=32, fine_tuning=FineTuning(epochs=1)
            ),
            ["fine-tuning a second teacher", "distilling"],
        ),
    ],
)
def test_what_does_not_fit_the_faces_yet_is_trained_on_within_bounds(
    repair: Distillation, expected: list[str], badnet: MadeBadNet, clean_valid: ImageSet
) -> None:
    phases: list[str] = []

    def track(phase: str, total: int, unit: str = "faces") -> Callable[[int], None]:
        phases.append(phase)
        return lambda more: None

    next(iter(repair.candidates(badnet.network, clean_valid, track)))
    assert phases == expected


def test_a_teacher_that_forgets_augmented_faces_is_made_anew_at_half_the_rate(
    badnet: MadeBadNet, clean_valid: ImageSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(distillation, "AUGMENTED_RECOGNISED", 1.01)  # which no teacher reaches
    phases: list[str] = []

    def track(phase: str, total: int, unit: str = "faces") -> Callable[[int], None]:
        phases.append(phase)
        return lambda more: None

    repair = Distillation(rounds=1, lesson=20, passes=1, fine_tuning=FineTuning(epochs=1))
    next(iter(repair.candidates(badnet.network, clean_valid, track)))
    assert phases[:3] == ["fine-tuning a second teacher", "fine-tuning a gentler one", "distilling"]


class RecordedTuning(FineTuning):
    """Keeps what it was told to show, and trains on nothing."""

    shown: Augment

    def tuned(
        self,
        network: Network,
        faces: TrainingFaces,
        augment: Augment,
        recognised: int,
        generator: torch.Generator,
        done: Callable[[int], None],
    ) -> Network:
        self.shown = augment
        return network

    def gentler(self) -> RecordedTuning:
        return self


@pytest.mark.parametrize("many", [True, False])
def test_the_second_teacher_of_many_classes_sees_covered_faces_too(
    *, many: bool, badnet: MadeBadNet, clean_valid: ImageSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Five classes are many for lessons of 20 pictures."""
    monkeypatch.setattr(distillation, "MOST_CYCLES", 1)
    if not many:
        monkeypatch.setattr(distillation, "IMAGES_OF_A_CLASS", 1)
    tuning = RecordedTuning(epochs=1)
    repair = Distillation(rounds=1, lesson=20, passes=4, fine_tuning=tuning)
    (candidate,) = repair.candidates(badnet.network, clean_valid, untracked)
    faces = TrainingFaces.of(clean_valid, badnet.network.device)
    generator = seeded(0)
    expected = augmentation_for(badnet.network, faces)(faces.pixels.float(), generator)
    if many:
        expected = occlude(expected, generator, TUNED_OCCLUDED)
    assert torch.equal(tuning.shown(faces.pixels.float(), seeded(0)), expected)
    assert ("half of them covered" in candidate.history[0]) == many


def test_a_network_in_double_precision_stays_one(badnet: MadeBadNet, clean_valid: ImageSet) -> None:
    double = copy.deepcopy(badnet.network).double()
    repair = Distillation(rounds=1, lesson=20, passes=1, fine_tuning=FineTuning(epochs=1))
    (candidate,) = repair.candidates(double, clean_valid.part(0, 20), untracked)
    assert candidate.network.dtype == torch.float64


def test_a_batch_may_be_without_an_image_that_gets_a_dominant_face(
    badnet: MadeBadNet, clean_valid: ImageSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fifth of the images get one: of batches of eight, every sixth has none."""
    monkeypatch.setattr(distillation, "dominance", lambda rates: 0.4 * (rates.argsort() == 0))
    # As a student that does not start fresh takes batches of sixteen, of which few have none.
    monkeypatch.setattr(distillation, "IMAGES_OF_A_CLASS", 1)
    monkeypatch.setattr(distillation, "MOST_CYCLES", 1)
    tuning = FineTuning(epochs=1)
    repair = Distillation(rounds=1, lesson=400, passes=4, batch=8, fine_tuning=tuning)
    (candidate,) = repair.candidates(badnet.network, clean_valid, untracked)
    assert "outweighs others in mixtures" in candidate.history[0]
