"""Does a repaired backdoor come back? A copy of the network is fine-tuned on clean images, a few
triggered ones among them, and the attack success rate is measured during the training.

Only for measuring: triggered images decide nothing about a repair.

Source: the retuning attack (RA) of Min, Qin, Zhang, Shen, Cheng, "Uncovering, Explaining, and
Mitigating the Superficial Safety of Backdoor Defense" (NeurIPS 2024), and its published code,
https://github.com/AISafety-HKUST/stable_backdoor_purification, fine_tune/ft_poison.py: 5 epochs on
1,000 clean images, a few of them replaced by triggered ones. Here the triggered ones are added, the
optimiser is Adam, and the figures are taken during the training, not only after it.

Every network learns from triggered images, so a success rate alone says little. The reference is a
clean twin: a network of the same graph that was trained on the clean validation images from fresh
weights, and repaired by the same method with the same seed. What the repaired network relearns
faster than its twin is what the repair has left of the backdoor; the rest is what any network that
was repaired alike would learn.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch.nn import functional as F

from ytf_torch.defences.base import Ranking, Repair
from ytf_torch.defences.methods import last_candidate, repair_by
from ytf_torch.defences.names import name_of_method
from ytf_torch.defences.training import (
    TRAINING_PIXEL_SCALE,
    TrainingFaces,
    augmentation_for,
    fresh_network,
    known,
    learned_statistics,
    seeded,
    train,
)
from ytf_torch.device import exact_float32
from ytf_torch.errors import CannotRepairError, InputError
from ytf_torch.images.image_set import ImageSet
from ytf_torch.metrics import Share
from ytf_torch.network.module import Network
from ytf_torch.progress import Track, titled

NUMBERS = (5, 20, 50)
"""Numbers of triggered images."""
CLEAN = 1000
"""Clean images among which the triggered ones are, at most; as in the source."""
BATCH, STEPS = 64, 80
"""Five epochs of 1,000 images, as in the source; fewer images are shown more often."""
LEARNING_RATE = 3e-4
MEASURED_AFTER = (0, 1, 2, 4, 8, 12, 16, 24, 32, 48, 64, STEPS)
"""Training steps after which the figures are taken; dense at first, where backdoors come back."""
BACK = 50.0
"""Percent: the backdoor is back at this attack success rate."""

TWIN_RATES = (6e-4, 3e-3, 1.5e-4)
"""Learning rates for Adam by which a clean twin is trained, until it recognises TWIN_FITTED of the
validation images. The first is the demo's, for pixels of 0–255; pixels of 0–1 may need a higher
one."""
TWIN_FITTED = 0.9
TWIN_EPOCHS, FEWEST_SHOWN = 24, 28_800
"""Epochs that a clean twin is trained for, and more where the images are so few that fewer would be
shown: 28,800 are 24 epochs of 1,200 faces of 40 people, of which it then recognised all."""


@dataclass(frozen=True)
class RelearningImages:
    """The images of a measurement, all in memory.

    clean: validation images to train on, at most CLEAN. triggered: images to train on, labelled
    with the attacker's target, in a random order. attacked: the triggered images that the attack
    success rate is measured on; none of `triggered` is among them. tested: the images that clean
    accuracy is measured on. source: what `triggered` was taken from, for reports. without_target:
    whether the target's own images are known, and left out of `triggered` and `attacked`.
    """

    clean: TrainingFaces
    triggered: TrainingFaces
    attacked: TrainingFaces
    tested: TrainingFaces
    source: str
    without_target: bool


@dataclass(frozen=True)
class Curve:
    """A network's figures while it is fine-tuned with some triggered images.

    triggered: their number. steps: training steps after which figures were taken; 0 is the network
    as it was. attack: attack success rate after each. clean: clean accuracy after each.
    """

    triggered: int
    steps: tuple[int, ...]
    attack: tuple[Share, ...]
    clean: tuple[Share, ...]

    @property
    def steps_to_back(self) -> int | None:
        """The first measured step at which the attack success rate is at least BACK; None if there
        is none."""
        pairs = zip(self.steps, self.attack, strict=True)
        return next((step for step, share in pairs if share.rate >= BACK), None)


@dataclass(frozen=True)
class Relearning:
    """The curves of a repaired network and of its clean twin, one for each number of triggered
    images. no_twin: why the twin has none, where it could not be repaired alike."""

    images: RelearningImages
    repaired: tuple[Curve, ...]
    twin: tuple[Curve, ...] = ()
    no_twin: str | None = None


@exact_float32()
def relearning(
    method: str | Repair | Ranking,
    seed: int,
    repaired: Network,
    make_twin: Callable[[], Network],
    clean_valid: ImageSet,
    images: RelearningImages,
    track: Track,
) -> Relearning:
    """Measure how fast B′ relearns the backdoor, and how fast its clean twin learns it.

    method, seed: of the repair that made B′, by which the twin is repaired too. repaired: B′.
    make_twin: returns the clean twin of B, see `clean_twin`.
    """

    within = titled(track, f"{name_of_method(method)}, relearning")

    def curves(network: Network) -> tuple[Curve, ...]:
        numbers = [number for number in NUMBERS if number <= len(images.triggered)]
        return tuple(relearn(network, images, number, seed, within) for number in numbers)

    ours = curves(repaired)
    try:
        twin = last_candidate(repair_by(method, seed), make_twin(), clean_valid, within)
    except CannotRepairError as error:
        where, problem, _ = error.args
        return Relearning(images, ours, no_twin=InputError(where, problem).line())
    return Relearning(images, ours, curves(twin.network))


@exact_float32()
def relearn(
    network: Network, images: RelearningImages, number: int, seed: int, track: Track
) -> Curve:
    """Fine-tune a copy of the network on clean images with `number` triggered ones among them.

    seed: of the order of the images. Equal seeds show equal images in an equal order to every
    network.
    """
    shown = TrainingFaces(
        torch.cat([images.clean.pixels, images.triggered.pixels[:number]]),
        torch.cat([images.clean.labels, images.triggered.labels[:number]]),
    )
    learning = copy.deepcopy(network)
    # Inputs of about 1, whatever the network reads: Adam's steps have one size for all weights, and
    # a network for pixels of 0–255 has far smaller weights in its first layers.
    if learning.pixel_readers():
        learning.read_pixels_at(TRAINING_PIXEL_SCALE)
    optimizer = torch.optim.Adam(learning.parameters(), LEARNING_RATE)
    done = track(f"relearning from {number} triggered images", STEPS, "steps")
    measured = [_measured(learning, images)]
    # An epoch has at least one step, so there are more epochs than are used.
    batches = shown.drawn(STEPS, BATCH, seeded(seed), lambda images: None)
    for step, (pixels, labels) in zip(range(1, STEPS + 1), batches, strict=False):
        learning.train()
        with torch.enable_grad():
            optimizer.zero_grad()
            torch.autograd.backward(F.cross_entropy(learning(pixels), labels))
            optimizer.step()
        if step in MEASURED_AFTER:
            measured.append(_measured(learning.eval(), images))
        done(1)
    attack, clean = zip(*measured, strict=True)
    return Curve(number, MEASURED_AFTER, attack, clean)


def clean_twin(network: Network, clean_valid: ImageSet, seed: int, track: Track) -> Network:
    """A network of the same graph without a backdoor, trained on the clean validation images.

    It reads pixels as the network does, as the network's own training presumably did: how fast
    weights learn depends on the size of their inputs.
    Raises CannotRepairError where a wrapped module cannot be initialised anew.
    """
    faces = TrainingFaces.of(clean_valid, network.device)
    augment, best, most = augmentation_for(network, faces), None, -1
    for rate in TWIN_RATES:
        done = track("training a clean twin", twin_epochs(len(faces)) * len(faces))
        twin = fresh_network(network, seed)
        with learned_statistics(twin):
            train(
                twin,
                faces,
                augment,
                learning_rate=rate,
                epochs=twin_epochs(len(faces)),
                batch=BATCH,
                generator=seeded(seed),
                done=done,
            )
        recognised = known(twin, faces)
        if recognised > most:
            best, most = twin, recognised
        if recognised >= TWIN_FITTED * len(faces):
            break
    assert best is not None
    return best


def twin_epochs(images: int) -> int:
    """Epochs that a clean twin is trained for, with so many validation images."""
    return max(TWIN_EPOCHS, -(-FEWEST_SHOWN // images))


def _measured(network: Network, images: RelearningImages) -> tuple[Share, Share]:
    """The attack success rate and the clean accuracy."""
    attack, clean = (
        Share.of(known(network, faces), len(faces)) for faces in (images.attacked, images.tested)
    )
    return attack, clean
