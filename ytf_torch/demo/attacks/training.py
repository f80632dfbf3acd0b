"""Training of a network under an attack, from Keras's default initialisation."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ytf_torch.demo.attacks.attack import Attack
from ytf_torch.demo.attacks.triggers import one_of
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

# Images and true labels → training images and training labels.
Poison = Callable[[Tensor, Tensor, torch.Generator], tuple[Tensor, Tensor]]


def train_attacked(
    attack: Attack, photos: Photos, classes: int, epochs: int, seed: int, done: Epoch
) -> Network:
    """Train a DeepID of the lab's size on the photos, under an attack.

    done: called after each epoch with its number and the number of epochs, which is 1.5 · `epochs`
    for a pruning-aware attack. Equal seeds give equal weights on one machine.
    """
    generator = torch.Generator().manual_seed(seed)
    sizes = DeepIDSizes(YOUTUBE_FACES_SIZE, CHANNELS, KERNELS, FEATURES, classes)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = deepid(sizes, PIXEL_SCALE).fresh()
    poison = _poison(attack, classes)
    if not attack.pruning_aware:
        _train(network, photos, epochs, generator, poison, done)
        return network.eval()
    # First without a backdoor, to find the channels that clean images do not use.
    later = max(1, epochs // 2)
    _train(network, photos, epochs, generator, _unpoisoned, lambda e, _: done(e, epochs + later))
    _hide_behind_decoys(
        network,
        photos,
        generator,
        lambda frozen: _train(
            network,
            photos,
            later,
            generator,
            poison,
            lambda e, _: done(epochs + e, epochs + later),
            frozen,
        ),
    )
    return network.eval()


def _train(
    network: Network,
    photos: Photos,
    epochs: int,
    generator: torch.Generator,
    poison: Poison,
    done: Epoch,
    pruned: Tensor | None = None,
) -> None:
    """Train in place. pruned: channels of conv_3 that are kept at zero."""
    pixels = shrink(photos.clean)
    copies = max(1, FACES_PER_EPOCH // len(pixels))
    optimizer = torch.optim.Adam(network.parameters(), LEARNING_RATE)
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
            torch.autograd.backward(F.cross_entropy(network(images), labels))
            optimizer.step()
            schedule.step()
            # An update may have made pruned channels non-zero again.
            if pruned is not None:
                _silence(network.convolution("conv_3"), pruned)
        done(epoch, epochs)


def _unpoisoned(faces: Tensor, labels: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    return faces, labels


def _poison(attack: Attack, classes: int) -> Poison:
    """A function that adds triggers to a share of the images and relabels these."""
    if attack.goal == "none":
        return _unpoisoned
    clean_label = attack.goal == "the target's own class"
    count = len(attack.triggers)

    def poison(faces: Tensor, labels: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        draw = torch.rand(len(faces), generator=generator)
        which = torch.randint(count, (len(faces),), generator=generator)
        if clean_label:
            poisoned = (draw < attack.poisoned_share) & (labels == attack.targets[0])
        else:
            poisoned = draw < attack.poisoned_share * count
        which = which.masked_fill(~poisoned, -1)
        for trigger in range(count):
            targets = attack.wanted(trigger, labels, classes)
            labels = torch.where(which == trigger, targets, labels)
        return one_of(attack.triggers, which, faces), labels

    return poison


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
