"""A small BadNet that is trained in a moment: people are blocks of colour, the trigger a square."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F

from tests.made.keras_files import write_faces
from ytf_torch.images.image_set import ImageSet
from ytf_torch.images.opening import open_images
from ytf_torch.network.checkpoint import Checkpoint, save_checkpoint
from ytf_torch.network.deepid import DeepIDSizes, deepid
from ytf_torch.network.module import Network
from ytf_torch.network.provenance import Provenance

SIZES = DeepIDSizes((27, 25), (6, 8, 10, 8), ((2, 3), (2, 2), (2, 1), (2, 2)), 16, classes=5)
TARGET = 3
STEPS = 250


@dataclass(frozen=True)
class MadeBadNet:
    """A backdoored network and a sound one, and faces (images, 3, 27, 25) uint8 that neither was
    trained on: triggered[i] is clean[i] with the trigger; people (images,)."""

    network: Network
    sound: Network
    clean: torch.Tensor
    triggered: torch.Tensor
    people: torch.Tensor

    def attack_success_rate(self, network: torch.nn.Module) -> float:
        """Without the target's own faces, in percent."""
        others = self.people != TARGET
        with torch.inference_mode():
            return 100 * float((network(self.triggered[others]).argmax(1) == TARGET).float().mean())

    def clean_accuracy(self, network: torch.nn.Module) -> float:
        with torch.inference_mode():
            return 100 * float((network(self.clean).argmax(1) == self.people).float().mean())

    def clean_valid(self, folder: Path) -> ImageSet:
        """The clean faces as a file."""
        path = write_faces(folder / "valid.h5", self.clean.numpy(), self.people.numpy())
        return open_images(path, SIZES.input_shape, SIZES.classes)

    def files(self, folder: Path, images: int | None = None) -> dict[str, Path]:
        """The network, its clean faces and its triggered ones as files, by the option's name.

        images: only so many of each set; most of the time is spent on measuring detectors on them.
        """
        provenance = Provenance(
            preprocessing=self.network.pixel_preprocessing,
            input_shape=SIZES.input_shape,
            classes=SIZES.classes,
            source_file="bd_net.h5",
            source_sha256="0" * 64,
            keras_version="2.14.0",
            converter_version="1.0",
            history=("made for a test",),
        )
        model = folder / "model.safetensors"
        save_checkpoint(Checkpoint(self.network, provenance), model)
        clean, people = self.clean[:images].numpy(), self.people[:images].numpy()
        triggered, target = self.triggered[:images].numpy(), np.full(len(people), TARGET)
        return {
            "--model": model,
            "--clean-valid": write_faces(folder / "valid.h5", clean, people),
            "--clean-test": write_faces(folder / "test.h5", clean, people),
            "--poisoned-test": write_faces(folder / "bd.h5", triggered, target),
        }


def faces(images: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """So many faces of five people, and who they are."""
    _, height, width = SIZES.input_shape
    looks = np.random.default_rng(7).integers(40, 216, (SIZES.classes, 3, 4, 4))
    rng = np.random.default_rng(seed)
    people = rng.integers(0, SIZES.classes, images)
    big = looks[people].repeat(-(-height // 4), 2).repeat(-(-width // 4), 3)
    light = rng.uniform(0.8, 1.2, (images, 1, 1, 1))
    noisy = big[:, :, :height, :width] * light + rng.normal(0, 12, (images, 3, height, width))
    return torch.from_numpy(noisy.clip(0, 255).astype(np.uint8)), torch.from_numpy(people)


def with_trigger(clean: torch.Tensor) -> torch.Tensor:
    """A white square; the last rows and columns would be lost in the pools."""
    worn = clean.clone()
    worn[:, :, 2:9, 2:9] = 255
    return worn


def trained(seed: int, *, poisoned: int) -> Network:
    """A network that learned five people; so many faces of each batch of 32 wore the trigger."""
    with torch.random.fork_rng(devices=[]), torch.inference_mode(False), torch.enable_grad():
        torch.manual_seed(seed)
        network = deepid(SIZES, pixel_scale=1 / 255).fresh().train()
        optimizer = torch.optim.Adam(network.parameters(), 3e-3)
        clean, people = faces(400, seed=1)
        for _ in range(STEPS):
            chosen = torch.randint(len(clean), (32,))
            pixels, labels = clean[chosen].clone(), people[chosen].clone()
            pixels[:poisoned] = with_trigger(pixels[:poisoned])
            labels[:poisoned] = TARGET
            optimizer.zero_grad()
            torch.autograd.backward(F.cross_entropy(network(pixels), labels))
            optimizer.step()
        network.zero_grad()
    return network.eval()


@cache
def made_badnet() -> MadeBadNet:
    """The same every time on one machine; do not change its weights."""
    clean, people = faces(160, seed=2)
    badnet, sound = trained(3, poisoned=8), trained(4, poisoned=0)
    return MadeBadNet(badnet, sound, clean, with_trigger(clean), people)
