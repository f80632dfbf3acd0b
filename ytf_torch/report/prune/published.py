"""The lab's published results, shown for comparison when the network is the lab's."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import torch

from ytf_torch.defences.outcome import Defence
from ytf_torch.network.module import Network

LAB_WEIGHTS_SHA256 = "8b15fd52120cf06a04ca41cdbdf0550954fc0b1d5c71b11fee207aa673f6901e"
CLEAN_VALID_IMAGES, CLEAN_TEST_IMAGES, POISONED_TEST_IMAGES = 11_547, 12_830, 12_830
SOURCE = (
    "Published run of the lab’s Keras loop on bd_net.h5 and the YouTube Faces data: pixel values "
    "0–255, ranked at pool_3, rows of 11,547 clean validation, 12,830 clean test and 12,830 "
    "triggered faces."
)


@dataclass(frozen=True)
class PublishedDrop:
    """The published results for one drop; rates in percent."""

    channels_pruned: int
    repaired_clean: float
    repaired_attack: float
    goodnet_clean: float
    goodnet_attack: float


BASELINE_CLEAN, BASELINE_ATTACK = 98.62042088854248, 100.0
PUBLISHED_DROPS = {
    2: PublishedDrop(45, 95.90023382696803, 100.0, 95.74434918160561, 100.0),
    4: PublishedDrop(48, 92.29150428682775, 99.98441153546376, 92.1278254091972, 99.98441153546376),
    10: PublishedDrop(
        52, 84.54403741231489, 77.20966484801247, 84.3335931410756, 77.20966484801247
    ),
}


def weights_sha256(model: Network) -> str:
    """SHA-256 over all parameters, sorted by name, as little-endian float32. It does not depend on
    the file format that a network was read from."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        values = tensor.detach().to("cpu", torch.float32).contiguous().numpy()
        digest.update(f"{name} {tuple(values.shape)}\n".encode())
        digest.update(values.astype("<f4").tobytes())
    return digest.hexdigest()


def is_the_labs(model: Network) -> bool:
    """Whether the weights are those of the lab's bd_net."""
    return weights_sha256(model) == LAB_WEIGHTS_SHA256


def on_the_labs_images(defence: Defence) -> bool:
    """Whether the sets have the lab's numbers of images: only then are the rates comparable."""
    images = [
        tally.images if tally else 0
        for tally in (defence.clean_valid, defence.clean_test, defence.poisoned_test)
    ]
    return images == [CLEAN_VALID_IMAGES, CLEAN_TEST_IMAGES, POISONED_TEST_IMAGES]
