"""The same network as most people would write it in PyTorch: what one of its passes costs is the
price in which a defence is quoted."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ytf_torch.network.deepid import DeepID

BATCH = 64


class OrdinaryNetwork(nn.Module):
    """DeepID from nn.Conv2d and nn.MaxPool2d, channels_last, with another one's weights."""

    def __init__(self, network: DeepID) -> None:
        super().__init__()
        self.convolutions = nn.ModuleList(
            nn.Conv2d(one.in_channels, one.out_channels, one.kernel_size)  # type: ignore[arg-type]
            for one in map(network.convolution, network.graph.convolutions)
        )
        for mine, other in zip(self.convolutions, network.graph.convolutions, strict=True):
            mine.load_state_dict(network.convolution(other).state_dict())
        self.pool = nn.MaxPool2d(2)
        self.fc_1, self.fc_2, self.output = network.fc_1, network.fc_2, network.output
        self.to(network.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.eval()

    def forward(self, pixels: Tensor) -> Tensor:
        """(batch, 3, height, width), pixel values 0–255 → logits (batch, classes)."""
        maps = pixels.to(torch.float32, memory_format=torch.channels_last)
        *pooled, last = self.convolutions
        for convolution in pooled:
            maps = self.pool(F.relu(convolution(maps)))
        hidden = self.fc_1(maps.flatten(1)) + self.fc_2(F.relu(last(maps)).flatten(1))
        logits: Tensor = self.output(F.relu(hidden))
        return logits
