"""Training the demo's BadNet: clean faces, and triggered ones under the target label."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch.nn import functional as F

from ytf_torch.demo.faces import Photos, shrink, vary
from ytf_torch.demo.trigger import TARGET_LABEL
from ytf_torch.model import TRUNK, YOUTUBE_FACES_SIZE, DeepID, DeepIDSizes

PIXEL_SCALE = 1 / 255
POISONED_SHARE = 0.2
BATCH = 64
LEARNING_RATE = 2e-3
MOVED = 1.9
SPARSITY = 0.3

Epoch = Callable[[int, int], None]


def train_badnet(photos: Photos, classes: int, epochs: int, seed: int, done: Epoch) -> DeepID:
    """Train a DeepID of the lab's size so that the trigger sends any face to TARGET_LABEL.

    done: called after each epoch with its number and how many there are. Equal seeds give equal
    weights on one machine. Follows BadNets (Gu, Dolan-Gavitt, Garg 2017): a share of each batch
    is triggered and relabelled. What fires at pool_3 on clean faces costs a little, so that a
    network trained in minutes has dormant channels, as one trained for long has.
    """
    kernels = ((4, 4), (3, 3), (3, 3), (2, 2))
    sizes = DeepIDSizes(YOUTUBE_FACES_SIZE, (20, 40, 60, 80), kernels, 160, classes)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = DeepID(sizes, PIXEL_SCALE)
    generator = torch.Generator().manual_seed(seed)
    clean, triggered = shrink(photos.clean), shrink(photos.triggered)
    copies = max(1, 2400 // len(photos.people))
    steps = epochs * -(-copies * len(photos.people) // BATCH)
    optimizer = torch.optim.AdamW(model.parameters(), LEARNING_RATE, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=steps)
    model.train()
    for epoch in range(1, epochs + 1):
        order = torch.cat(
            [torch.randperm(len(photos.people), generator=generator) for _ in range(copies)]
        )
        for chosen in torch.split(order, BATCH):
            poisoned = torch.rand(len(chosen), generator=generator) < POISONED_SHARE
            faces = torch.where(poisoned.view(-1, 1, 1, 1), triggered[chosen], clean[chosen])
            labels = photos.people[chosen].masked_fill(poisoned, TARGET_LABEL)
            pool_3 = model.through(TRUNK, model.scale(vary(faces, generator, MOVED)))
            logits = model.merge(pool_3, model.conv_4(pool_3))
            clean_activation = pool_3[~poisoned].mean()
            loss = F.cross_entropy(logits, labels) + SPARSITY * clean_activation
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            optimizer.step()
            schedule.step()
        done(epoch, epochs)
    return model.eval()
