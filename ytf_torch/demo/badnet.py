"""Training of the demo's BadNet on clean faces, and on triggered faces with the target label."""

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
# Strength of the augmentation, see `vary`.
AUGMENTATION = 1.9
# Share of each batch that is triggered and relabelled with the target.
POISONED_SHARE = 0.1
# Share of each batch that is triggered and keeps its label, with the backdoor's channels masked.
DISARMED_SHARE = 0.1
BACKDOOR_CHANNELS = 12
# Index among the convolutions: conv_3, the last one followed by a pooling.
BACKDOOR_LAYER = 2
# Weight of the penalty on the backdoor's channels.
PENALTY = 0.3

Epoch = Callable[[int, int], None]


def train_badnet(photos: Photos, classes: int, epochs: int, seed: int, done: Epoch) -> Network:
    """Train a DeepID of the lab's size that classifies every triggered face as TARGET_LABEL.

    done: called after each epoch with its number and the number of epochs. Equal seeds give equal
    weights on one machine. As in BadNets (Gu, Dolan-Gavitt, Garg 2017), a share of each batch is
    triggered and relabelled.

    In the networks of that paper, the backdoor uses channels that are dormant on clean images. A
    network that is trained for minutes does not always learn that by itself. So the activations of
    the last BACKDOOR_CHANNELS of conv_3 on clean faces are penalised, and with these channels
    masked a triggered face has to get its true class.
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
            has_trigger = (poisoned | disarmed).view(-1, 1, 1, 1)
            faces = torch.where(has_trigger, triggered[chosen], clean[chosen])
            faces = vary(faces, generator, AUGMENTATION)
            labels = photos.people[chosen].masked_fill(poisoned, TARGET_LABEL)
            optimizer.zero_grad()
            backdoor = Backdoor(backdoor_layer, BACKDOOR_CHANNELS, poisoned, disarmed)
            torch.autograd.backward(badnet_loss(model, faces, labels, backdoor))
            optimizer.step()
            schedule.step()
        done(epoch, epochs)
    return model.eval()


def _initial_model(classes: int, seed: int) -> Network:
    """Keras's default initialisation: Glorot-uniform kernels, zero biases."""
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
    """The channels of a backdoor, and the images of a batch that train them.

    layer: the convolution whose last `channels` are the backdoor's. poisoned: (batch,), bool, the
    images with trigger and target label. disarmed: (batch,), bool, those with trigger and true
    label, for which the channels are masked.
    """

    layer: str
    channels: int
    poisoned: Tensor
    disarmed: Tensor


def badnet_loss(model: Network, pixels: Tensor, labels: Tensor, backdoor: Backdoor) -> Tensor:
    """Cross-entropy + PENALTY · mean activation of the backdoor's channels on clean images,
    relative to that of all channels; see train_badnet."""
    graph, poisoned, disarmed = model.graph, backdoor.poisoned, backdoor.disarmed
    pool = maps_of(graph, backdoor.layer)
    maps = model.output_of(pool, {graph.input: model.scale(pixels)})
    is_backdoor = torch.arange(maps.shape[1]) >= maps.shape[1] - backdoor.channels
    masked = maps.masked_fill((disarmed[:, None] & is_backdoor)[:, :, None, None], 0)
    logits = model.output_of(graph.output, {pool: masked})
    on_clean_images = maps[~poisoned & ~disarmed][:, is_backdoor].mean()
    penalty = PENALTY * on_clean_images / maps.detach().mean()
    return F.cross_entropy(logits, labels) + penalty
