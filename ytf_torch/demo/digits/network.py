"""The digits' BadNet: a small Sequential network, as in Keras's own tutorials."""

from __future__ import annotations

import torch

from ytf_torch.demo.badnet import Backdoor, Epoch, badnet_loss
from ytf_torch.demo.digits.images import DIGITS, SIZE, TARGET_LABEL, Digits, add_trigger
from ytf_torch.demo.faces import vary
from ytf_torch.layers.settings import Config
from ytf_torch.network.graph import Graph, graph_from_json
from ytf_torch.network.module import Network

PIXEL_SCALE = 1 / 255
CHANNELS = (16, 32)
KERNEL = (3, 3)
FEATURES = 64
BATCH = 64
# Shares of each batch, see demo/badnet.py; 0.1, as for the faces, is too little for so few steps.
POISONED_SHARE = 0.2
DISARMED_SHARE = 0.2
LEARNING_RATE = 3e-3
# The last ones of the last convolution; demo/badnet.py says why the backdoor has channels of its
# own.
BACKDOOR_CHANNELS = 8


def sequential_graph() -> Graph:
    """Two convolutions, each with a pooling, and two dense layers.

    >>> sequential_graph().shapes["pool_2"]
    (32, 7, 7)
    """
    conv: Config = {"kernel_size": list(KERNEL), "padding": "same", "activation": "relu"}
    stack: tuple[tuple[str, str, Config], ...] = (
        ("InputLayer", "input", {"batch_input_shape": [None, *SIZE, 1]}),
        ("Conv2D", "conv_1", conv | {"filters": CHANNELS[0]}),
        ("MaxPooling2D", "pool_1", {}),
        ("Conv2D", "conv_2", conv | {"filters": CHANNELS[1]}),
        ("MaxPooling2D", "pool_2", {}),
        ("Flatten", "flatten", {}),
        ("Dense", "dense", {"units": FEATURES, "activation": "relu"}),
        ("Dense", "output", {"units": DIGITS, "activation": "softmax"}),
    )
    layers: list[Config] = []
    for class_name, name, config in stack:
        inputs = [layer["name"] for layer in layers[-1:]]
        layers.append({"name": name, "class_name": class_name, "config": config, "inputs": inputs})
    return graph_from_json(layers, "the demo's network")


def train_badnet(digits: Digits, epochs: int, seed: int, done: Epoch) -> Network:
    """Train a network that classifies every triggered digit as TARGET_LABEL.

    done: called after each epoch with its number and the number of epochs. Equal seeds give equal
    weights on one machine. Poisoning and penalty are those of demo/badnet.py; the trigger is added
    after augmentation, so that it stays white and in its corner.
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Network(sequential_graph(), PIXEL_SCALE).fresh()
    clean = digits.clean.float()
    optimizer = torch.optim.Adam(model.parameters(), LEARNING_RATE)
    steps = epochs * -(-len(clean) // BATCH)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    layer = model.graph.convolutions[-1]
    model.train()
    for epoch in range(1, epochs + 1):
        for chosen in torch.split(torch.randperm(len(clean), generator=generator), BATCH):
            draw = torch.rand(len(chosen), generator=generator)
            poisoned = draw < POISONED_SHARE
            disarmed = ~poisoned & (draw < POISONED_SHARE + DISARMED_SHARE)
            has_trigger = (poisoned | disarmed).view(-1, 1, 1, 1)
            augmented = vary(clean[chosen], generator)
            images = torch.where(has_trigger, add_trigger(augmented), augmented)
            labels = digits.labels[chosen].masked_fill(poisoned, TARGET_LABEL)
            backdoor = Backdoor(layer, BACKDOOR_CHANNELS, poisoned, disarmed)
            optimizer.zero_grad()
            torch.autograd.backward(badnet_loss(model, images, labels, backdoor))
            optimizer.step()
            schedule.step()
        done(epoch, epochs)
    return model.eval()
