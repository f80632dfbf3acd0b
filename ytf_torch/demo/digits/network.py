"""The digits' BadNet: a small Sequential network, as Keras's own tutorials build it."""

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
# Of each batch, see demo/badnet.py; a tenth each, as of the faces, is too little for so few steps.
POISONED_SHARE = 0.2
DISARMED_SHARE = 0.2
LEARNING_RATE = 3e-3
# Of the last convolution; see demo/badnet.py for why the backdoor has channels of its own.
BACKDOOR_CHANNELS = 8


def sequential_graph() -> Graph:
    """Two convolutions with pooling and two dense layers, each reading the one before it.

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
    """Train a network so that the trigger turns any digit into TARGET_LABEL.

    done: called after each epoch with its number and how many there are. Equal seeds give equal
    weights on one machine. Poisoned and restrained as the faces' BadNet is, see demo/badnet.py; the
    trigger stays in its corner and white however the digit is varied.
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
            worn = (poisoned | disarmed).view(-1, 1, 1, 1)
            varied = vary(clean[chosen], generator)
            images = torch.where(worn, add_trigger(varied), varied)
            labels = digits.labels[chosen].masked_fill(poisoned, TARGET_LABEL)
            backdoor = Backdoor(layer, BACKDOOR_CHANNELS, poisoned, disarmed)
            optimizer.zero_grad()
            torch.autograd.backward(badnet_loss(model, images, labels, backdoor))
            optimizer.step()
            schedule.step()
        done(epoch, epochs)
    return model.eval()
