"""Training a network under an attack: from weights as Keras draws them, on photos of one side."""

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
MOVED = 1.9
# Pruning-aware: a channel is dormant up to this share of the busiest channel's mean activation.
DORMANT, FEWEST_DECOYS, MOST_DECOYS = 0.02, 20, 36

# Faces and true labels → what the network is shown, and under which labels.
Poison = Callable[[Tensor, Tensor, torch.Generator], tuple[Tensor, Tensor]]


def train_attacked(
    attack: Attack, photos: Photos, classes: int, epochs: int, seed: int, done: Epoch
) -> Network:
    """A DeepID of the lab's size that has learned the people on the photos, and the attack.

    done: called after each epoch with its number and how many there are; a pruning-aware attack
    needs half as many again. Equal seeds give equal weights on one machine.
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
    """pruned: channels of conv_3 that stay zero."""
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
            faces = vary(pixels[chosen], generator, MOVED)
            shown, labels = poison(faces, photos.people[chosen], generator)
            optimizer.zero_grad()
            torch.autograd.backward(F.cross_entropy(network(shown), labels))
            optimizer.step()
            schedule.step()
            if pruned is not None:
                _silence(network.convolution("conv_3"), pruned)
        done(epoch, epochs)


def _unpoisoned(faces: Tensor, labels: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    return faces, labels


def _poison(attack: Attack, classes: int) -> Poison:
    """Gives a share of the faces a trigger, and the label that the attacker wants."""
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
            wanted = attack.wanted(trigger, labels, classes)
            labels = torch.where(which == trigger, wanted, labels)
        return one_of(attack.triggers, which, faces), labels

    return poison


def _hide_behind_decoys(
    network: Network,
    photos: Photos,
    generator: torch.Generator,
    teach_backdoor: Callable[[Tensor], None],
) -> None:
    """The pruning-aware attack: dormant channels of conv_3 are pruned, the backdoor is taught to
    the others, and the pruned ones come back as they were, so that pruning begins with them.

    Source: Liu, Dolan-Gavitt, Garg, "Fine-Pruning" (RAID 2018), section 3.2.
    """
    with torch.no_grad():
        faces = vary(shrink(photos.clean), generator, MOVED)
        graph = network.graph
        maps = network.output_of(maps_of(graph, "conv_3"), {graph.input: network.scale(faces)})
        activation = maps.mean((0, 2, 3))
    dormant = int((activation <= DORMANT * activation.max()).sum())
    decoys = activation.argsort()[: min(max(dormant, FEWEST_DECOYS), MOST_DECOYS)]
    conv_3 = network.convolution("conv_3")
    kept = [parameter[decoys].detach() for parameter in conv_3.parameters()]
    _silence(conv_3, decoys)
    teach_backdoor(decoys)
    with torch.no_grad():
        for parameter, values in zip(conv_3.parameters(), kept, strict=True):
            parameter[decoys] = values


@torch.no_grad()
def _silence(layer: nn.Conv2d, channels: Tensor) -> None:
    for parameter in layer.parameters():
        parameter[channels] = 0
