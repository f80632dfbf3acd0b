"""Training of a network under an attack, from Keras's default initialisation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ytf_torch.demo.attacks.attack import Attack, Covers
from ytf_torch.demo.attacks.input_aware import TriggerGenerator
from ytf_torch.demo.attacks.label_consistent import perturbed
from ytf_torch.demo.attacks.poisoning import Poison, poison_of, unpoisoned
from ytf_torch.demo.badnet import CHANNELS, FEATURES, KERNELS, PIXEL_SCALE, Epoch
from ytf_torch.demo.faces import Photos, shrink, vary
from ytf_torch.network.deepid import YOUTUBE_FACES_SIZE, DeepIDSizes, deepid
from ytf_torch.network.module import Network
from ytf_torch.network.pruned_layer import maps_of

BATCH, FACES_PER_EPOCH = 64, 2400
LEARNING_RATE = 6e-4
# Strength of the augmentation, see `vary`.
AUGMENTATION = 1.9
# Pruning-aware: a channel is dormant up to this share of the largest mean activation of a channel.
DORMANT, FEWEST_DECOYS, MOST_DECOYS = 0.02, 20, 36


@dataclass(frozen=True)
class Attacked:
    """A trained BadNet. attack: with all its triggers, also those that training made."""

    network: Network
    attack: Attack


def train_attacked(
    attack: Attack, photos: Photos, classes: int, epochs: int, seed: int, done: Epoch
) -> Attacked:
    """Train a DeepID of the lab's size on the photos, under an attack.

    done: called after each epoch with its number and the number of epochs, which is 1.5 · `epochs`
    for a pruning-aware attack and 2 · `epochs` for one that first trains a network to perturb
    images with. Equal seeds give equal weights on one machine.
    """
    attack = attack.for_photos(photos)
    generator = torch.Generator().manual_seed(seed)
    sizes = DeepIDSizes(YOUTUBE_FACES_SIZE, CHANNELS, KERNELS, FEATURES, classes)

    def fresh(seed: int) -> Network:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return deepid(sizes, PIXEL_SCALE).fresh()

    network = fresh(seed)
    if attack.learned_trigger:
        attack = _train_with_trigger(network, attack, photos, classes, epochs, generator, done)
    elif attack.perturbation:
        surrogate = fresh(seed + 1)
        _train(surrogate, photos, epochs, generator, unpoisoned, _within(done, 0, 2 * epochs))
        surrogate.eval()

        def perturb(faces: Tensor, labels: Tensor, generator: torch.Generator) -> Tensor:
            return perturbed(faces, labels, surrogate, attack.perturbation, generator)

        poison = poison_of(attack, classes, perturb)
        _train(network, photos, epochs, generator, poison, _within(done, epochs, 2 * epochs))
    elif attack.pruning_aware:
        _train_pruning_aware(network, attack, photos, classes, epochs, generator, done)
    else:
        _train(network, photos, epochs, generator, poison_of(attack, classes), done)
    return Attacked(network.eval(), attack)


def _within(done: Epoch, before: int, epochs: int) -> Epoch:
    """Progress of a training that follows `before` epochs of another, of `epochs` in all."""
    return lambda epoch, _: done(before + epoch, epochs)


def _train_with_trigger(
    network: Network,
    attack: Attack,
    photos: Photos,
    classes: int,
    epochs: int,
    generator: torch.Generator,
    done: Epoch,
) -> Attack:
    """Train the network and its trigger together; returns the attack with that trigger."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(generator.initial_seed())
        learned = TriggerGenerator()
    in_training = replace(
        attack,
        triggers=(learned.triggered,),
        covers=Covers(attack.poisoned_share, learned.with_trigger_of_another),
    )
    poison = poison_of(in_training, classes)
    _train(network, photos, epochs, generator, poison, done, learned=learned)
    return replace(attack, triggers=(learned.trigger,), learned_trigger=False)


def _train_pruning_aware(
    network: Network,
    attack: Attack,
    photos: Photos,
    classes: int,
    epochs: int,
    generator: torch.Generator,
    done: Epoch,
) -> None:
    """Train in place, first without a backdoor, to find channels that clean images do not use."""
    later = max(1, epochs // 2)
    _train(network, photos, epochs, generator, unpoisoned, _within(done, 0, epochs + later))
    _hide_behind_decoys(
        network,
        photos,
        generator,
        lambda frozen: _train(
            network,
            photos,
            later,
            generator,
            poison_of(attack, classes),
            _within(done, epochs, epochs + later),
            frozen,
        ),
    )


def _train(
    network: Network,
    photos: Photos,
    epochs: int,
    generator: torch.Generator,
    poison: Poison,
    done: Epoch,
    pruned: Tensor | None = None,
    learned: TriggerGenerator | None = None,
) -> None:
    """Train in place. pruned: channels of conv_3 that are kept at zero. learned: the network of the
    trigger, which is trained as well."""
    pixels = shrink(photos.clean)
    copies = max(1, FACES_PER_EPOCH // len(pixels))
    learned_parameters = [] if learned is None else list(learned.parameters())
    optimizer = torch.optim.Adam([*network.parameters(), *learned_parameters], LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, LEARNING_RATE, epochs * -(-copies * len(pixels) // BATCH), pct_start=0.1
    )
    network.train()
    for epoch in range(1, epochs + 1):
        orders = [torch.randperm(len(pixels), generator=generator) for _ in range(copies)]
        for chosen in torch.split(torch.cat(orders), BATCH):
            augmented = vary(pixels[chosen], generator, AUGMENTATION)
            images, labels = poison(augmented, photos.people[chosen], generator)
            optimizer.zero_grad()
            loss = F.cross_entropy(network(images), labels)
            if learned is not None:
                loss = loss + learned.diversity_loss(augmented)
            torch.autograd.backward(loss)
            optimizer.step()
            schedule.step()
            # An update may have made pruned channels non-zero again.
            if pruned is not None:
                _silence(network.convolution("conv_3"), pruned)
        done(epoch, epochs)


def _hide_behind_decoys(
    network: Network,
    photos: Photos,
    generator: torch.Generator,
    teach_backdoor: Callable[[Tensor], None],
) -> None:
    """The pruning-aware attack: prune the dormant channels of conv_3, train the backdoor into the
    others, and restore the pruned ones, so that a defender's pruning removes these first.

    Source: Liu, Dolan-Gavitt, Garg, "Fine-Pruning" (RAID 2018), section 3.2.
    """
    with torch.no_grad():
        faces = vary(shrink(photos.clean), generator, AUGMENTATION)
        graph = network.graph
        maps = network.output_of(maps_of(graph, "conv_3"), {graph.input: network.scale(faces)})
        activation = maps.mean((0, 2, 3))
    dormant = int((activation <= DORMANT * activation.max()).sum())
    decoys = activation.argsort()[: min(max(dormant, FEWEST_DECOYS), MOST_DECOYS)]
    conv_3 = network.convolution("conv_3")
    original = [parameter[decoys].detach() for parameter in conv_3.parameters()]
    _silence(conv_3, decoys)
    teach_backdoor(decoys)
    with torch.no_grad():
        for parameter, values in zip(conv_3.parameters(), original, strict=True):
            parameter[decoys] = values


@torch.no_grad()
def _silence(layer: nn.Conv2d, channels: Tensor) -> None:
    """Set the kernels and biases of the channels to zero."""
    for parameter in layer.parameters():
        parameter[channels] = 0
