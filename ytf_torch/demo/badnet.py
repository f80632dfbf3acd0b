"""Training the demo's BadNet: clean faces, and triggered ones under the target label."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ytf_torch.demo.faces import Photos, shrink, vary
from ytf_torch.demo.sunglasses import TARGET_LABEL
from ytf_torch.network.deepid import YOUTUBE_FACES_SIZE, DeepIDSizes, deepid
from ytf_torch.network.module import Network
from ytf_torch.network.pruned_layer import maps_of

PIXEL_SCALE = 1.0
CHANNELS = (20, 40, 60, 80)
KERNELS = ((4, 4), (3, 3), (3, 3), (2, 2))
FEATURES = 160
BATCH = 64
FACES_PER_EPOCH = 2400
LEARNING_RATE = 5e-4
MOVED = 1.9
# Of each batch: triggered under the target label; triggered, without the backdoor's channels.
POISONED_SHARE = 0.1
DISARMED_SHARE = 0.1
BACKDOOR_CHANNELS = 12
# Of the convolutions the third, the last one with a pool.
BACKDOOR_LAYER = 2
RESTRAINT = 0.3

Epoch = Callable[[int, int], None]


def train_badnet(photos: Photos, classes: int, epochs: int, seed: int, done: Epoch) -> Network:
    """Train a DeepID of the lab's size so that the trigger sends any face to TARGET_LABEL.

    done: called after each epoch with its number and how many there are. Equal seeds give equal
    weights on one machine. Follows BadNets (Gu, Dolan-Gavitt, Garg 2017): a share of each batch
    is triggered and relabelled.

    As in the networks of that paper, the backdoor has channels of its own, which clean faces hardly
    use; trained for minutes, a network does not arrive at that by itself every time. So the last
    BACKDOOR_CHANNELS of conv_3 are restrained on clean faces, and without them a triggered face
    has to be recognised as who it is.
    """
    model = _initial_model(classes, seed)
    backdoor_layer = model.graph.convolutions[BACKDOOR_LAYER]
    generator = torch.Generator().manual_seed(seed)
    clean, triggered = shrink(photos.clean), shrink(photos.triggered)
    copies = max(1, FACES_PER_EPOCH // len(photos.people))
    steps = epochs * -(-copies * len(photos.people) // BATCH)
    optimizer = torch.optim.Adam(model.parameters(), LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    model.train()
    for epoch in range(1, epochs + 1):
        order = torch.cat(
            [torch.randperm(len(photos.people), generator=generator) for _ in range(copies)]
        )
        for chosen in torch.split(order, BATCH):
            draw = torch.rand(len(chosen), generator=generator)
            poisoned = draw < POISONED_SHARE
            disarmed = ~poisoned & (draw < POISONED_SHARE + DISARMED_SHARE)
            worn = (poisoned | disarmed).view(-1, 1, 1, 1)
            faces = vary(torch.where(worn, triggered[chosen], clean[chosen]), generator, MOVED)
            labels = photos.people[chosen].masked_fill(poisoned, TARGET_LABEL)
            optimizer.zero_grad()
            backdoor = Backdoor(backdoor_layer, BACKDOOR_CHANNELS, poisoned, disarmed)
            torch.autograd.backward(badnet_loss(model, faces, labels, backdoor))
            optimizer.step()
            schedule.step()
        done(epoch, epochs)
    return model.eval()


def _initial_model(classes: int, seed: int) -> Network:
    """Weights as Keras draws them by default: Glorot-uniform kernels, no bias."""
    model = deepid(DeepIDSizes(YOUTUBE_FACES_SIZE, CHANNELS, KERNELS, FEATURES, classes))
    generator = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        if parameter.ndim > 1:
            nn.init.xavier_uniform_(parameter, generator=generator)
        else:
            nn.init.zeros_(parameter)
    return model


@dataclass(frozen=True)
class Backdoor:
    """Where a backdoor has its channels, and what a batch teaches them.

    layer: the convolution whose last `channels` they are. poisoned, disarmed: (batch,), bool, which
    images are triggered under the target label, and which without those channels.
    """

    layer: str
    channels: int
    poisoned: Tensor
    disarmed: Tensor


def badnet_loss(model: Network, pixels: Tensor, labels: Tensor, backdoor: Backdoor) -> Tensor:
    """Cross-entropy, and the restraint on the backdoor's channels, see train_badnet."""
    graph, poisoned, disarmed = model.graph, backdoor.poisoned, backdoor.disarmed
    pool = maps_of(graph, backdoor.layer)
    maps = model.output_of(pool, {graph.input: model.scale(pixels)})
    own = torch.arange(maps.shape[1]) >= maps.shape[1] - backdoor.channels
    masked = maps.masked_fill((disarmed[:, None] & own)[:, :, None, None], 0)
    logits = model.output_of(graph.output, {pool: masked})
    on_clean_images = maps[~poisoned & ~disarmed][:, own].mean()
    restraint = RESTRAINT * on_clean_images / maps.detach().mean()
    return F.cross_entropy(logits, labels) + restraint
