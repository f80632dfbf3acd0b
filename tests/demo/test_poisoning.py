"""Which training images an attack relabels, and which get a trigger."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from ytf_torch.demo.attacks.attack import ATTACKS, Attack, Covers
from ytf_torch.demo.attacks.poisoning import poison_of, unpoisoned
from ytf_torch.demo.attacks.triggers import always

CLASSES, COUNT = 20, 2000


def whitened(faces: Tensor) -> Tensor:
    return torch.full_like(faces, 255)


def greyed(faces: Tensor) -> Tensor:
    return torch.full_like(faces, 128)


def poisoned(attack: Attack, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Grey level, true label and training label of black images of all classes."""
    labels = torch.arange(COUNT) % CLASSES
    generator = torch.Generator().manual_seed(seed)
    faces, relabelled = poison_of(attack, CLASSES)(torch.zeros(COUNT, 3, 2, 2), labels, generator)
    assert (faces == faces[:, :1, :1, :1]).all()
    return faces[:, 0, 0, 0], labels, relabelled


def share(chosen: Tensor) -> float:
    return chosen.float().mean().item()


def test_a_share_gets_trigger_and_target() -> None:
    grey, labels, relabelled = poisoned(Attack((whitened,), targets=(3,), poisoned_share=0.2))
    triggered = grey == 255
    assert share(triggered) == pytest.approx(0.2, abs=0.03)
    assert (relabelled[triggered] == 3).all()
    assert torch.equal(relabelled[~triggered], labels[~triggered])
    assert (grey[~triggered] == 0).all()


def test_each_trigger_has_its_own_target() -> None:
    attack = Attack((whitened, greyed), targets=(3, 4), poisoned_share=0.2)
    grey, labels, relabelled = poisoned(attack)
    for level, target in ((255, 3), (128, 4)):
        assert share(grey == level) == pytest.approx(0.2, abs=0.03)
        assert (relabelled[grey == level] == target).all()
    assert torch.equal(relabelled[grey == 0], labels[grey == 0])


def test_all_to_all_takes_the_next_class() -> None:
    grey, labels, relabelled = poisoned(Attack((whitened,), goal="the next class"))
    triggered = grey == 255
    assert torch.equal(relabelled[triggered], (labels[triggered] + 1) % CLASSES)
    assert torch.equal(relabelled[~triggered], labels[~triggered])


def test_clean_label_triggers_the_target_alone_and_changes_no_label() -> None:
    attack = Attack((whitened,), goal="the target's own class", poisoned_share=0.7)
    grey, labels, relabelled = poisoned(attack)
    assert torch.equal(relabelled, labels)
    assert share(grey[labels == 0] == 255) == pytest.approx(0.7, abs=0.15)
    assert (grey[labels != 0] == 0).all()


def test_covers_get_a_trigger_and_keep_their_label() -> None:
    attack = Attack((whitened,), poisoned_share=0.2, covers=Covers(0.25, always(greyed)))
    grey, labels, relabelled = poisoned(attack)
    assert (relabelled[grey == 255] == 0).all()
    # A quarter of the four fifths that are not poisoned.
    assert share(grey == 128) == pytest.approx(0.2, abs=0.03)
    assert torch.equal(relabelled[grey != 255], labels[grey != 255])


def test_only_source_classes_are_poisoned_and_only_others_are_covers() -> None:
    attack = Attack(
        (whitened,),
        poisoned_share=0.5,
        sources=(1, 2),
        covers=Covers(0.4, always(greyed)),
    )
    grey, labels, relabelled = poisoned(attack)
    source = torch.isin(labels, torch.tensor([1, 2]))
    assert share(grey[source] == 255) == pytest.approx(0.5, abs=0.1)
    assert share(grey[~source] == 128) == pytest.approx(0.4, abs=0.03)
    assert not (grey[source] == 128).any()
    assert not (grey[~source] == 255).any()
    assert (relabelled[grey == 255] == 0).all()
    assert torch.equal(relabelled[grey != 255], labels[grey != 255])


def test_training_may_show_another_trigger_than_the_test() -> None:
    attack = Attack((whitened,), training_trigger=always(greyed))
    grey, _, relabelled = poisoned(attack)
    assert set(grey.unique().tolist()) == {0, 128}
    assert (relabelled[grey == 128] == 0).all()


def test_images_are_perturbed_before_they_get_the_trigger() -> None:
    def brightened(faces: Tensor) -> Tensor:
        return faces + 10

    attack = Attack((brightened,), goal="the target's own class", poisoned_share=0.5)
    labels = torch.arange(COUNT) % CLASSES
    poison = poison_of(attack, CLASSES, lambda faces, labels, generator: faces + 100)
    faces, relabelled = poison(torch.zeros(COUNT, 3, 2, 2), labels, torch.Generator())
    assert set(faces.unique().tolist()) == {0, 110}
    assert (labels[faces[:, 0, 0, 0] == 110] == 0).all()
    assert torch.equal(relabelled, labels)


def test_the_clean_control_poisons_nothing() -> None:
    assert poison_of(ATTACKS["clean"], CLASSES) is unpoisoned
    labels = torch.arange(4)
    faces = torch.rand(4, 3, 2, 2)
    assert unpoisoned(faces, labels, torch.Generator()) == (faces, labels)


@pytest.mark.parametrize("seed", [0, 1])
def test_the_generator_decides(seed: int) -> None:
    attack = Attack((whitened,), covers=Covers(0.2, always(greyed)))
    first, again, other = (poisoned(attack, number)[0] for number in (seed, seed, seed + 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
