"""A small ResNet as a PyTorch user writes one, and pictures that it recognises."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ytf_torch.images.arrays import ImagesInMemory, images_of

SHAPE = (3, 16, 12)
CLASSES = 4


class Block(nn.Module):
    """Two convolutions with a way around them."""

    def __init__(self, channels_in: int, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or channels_in != channels:
            convolution = nn.Conv2d(channels_in, channels, 1, stride, bias=False)
            self.shortcut = nn.Sequential(convolution, nn.BatchNorm2d(channels))

    def forward(self, maps: Tensor) -> Tensor:
        inside = self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(maps)))))
        return torch.relu(inside + self.shortcut(maps))


class SmallResNet(nn.Module):
    """Batch normalizations without a bias before them, dropout, and maps flattened by `view`."""

    def __init__(self, shape: tuple[int, int, int] = SHAPE) -> None:
        super().__init__()
        channels, height, width = shape
        self.stem = nn.Sequential(nn.Conv2d(channels, 6, 3, 1, 1, bias=False), nn.BatchNorm2d(6))
        self.layer1 = Block(6, 6, 1)
        self.layer2 = Block(6, 8, 2)
        self.dropout = nn.Dropout(0.5)
        self.fc = nn.Linear(8 * (height // 2) * (width // 2), CLASSES)

    def forward(self, images: Tensor) -> Tensor:
        maps = self.layer2(self.layer1(torch.relu(self.stem(images))))
        logits: Tensor = self.fc(self.dropout(maps.view(maps.size(0), -1)))
        return logits


def small_resnet() -> SmallResNet:
    """One with statistics that were learned, in training mode as torch leaves it; always the
    same."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        module = SmallResNet()
        with torch.no_grad():
            for _ in range(20):
                module(torch.rand(16, *SHAPE))
            scores = module.eval()(pixels_of(64) / 255)
            module.fc.bias.sub_(scores.mean(0))  # so that every class is answered
    return module.train()


def pixels_of(images: int) -> Tensor:
    """Blurred pictures, pixel values 0–255."""
    generator = torch.Generator().manual_seed(4)
    coarse = torch.rand(images, 3, 4, 4, generator=generator) * 255
    return nn.functional.interpolate(coarse, SHAPE[1:], mode="bilinear").byte()


def known_images(module: nn.Module, images: int = 32) -> ImagesInMemory:
    """Pictures labelled with what a module answers, which reads them divided by 255."""
    pixels = pixels_of(images)
    was_training = module.training
    with torch.inference_mode():
        labels = module.eval()(pixels / 255).argmax(1)
    module.train(was_training)
    return images_of(pixels, labels)
