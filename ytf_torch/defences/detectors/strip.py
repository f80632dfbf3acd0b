"""STRIP: the prediction for a triggered image barely changes when other images are added to it."""

from __future__ import annotations

import torch
from torch import Tensor

from ytf_torch.defences.base import Candidate
from ytf_torch.defences.training import TrainingFaces, seeded
from ytf_torch.images.image_set import ImageSet
from ytf_torch.network.module import Network
from ytf_torch.predicted_class import are_finite


class Strip:
    """Negative mean entropy, in nats, of B's softmax over blends of an image with clean images:

        score = −mean over i of H(B(min(x + weight · overlay[i], 255)))

    overlays: number of clean validation images, drawn with `seed`, that are blended in. weight:
    their factor; x itself is not scaled. Blends for which B's logits are not finite are left out.

    Source: Gao, Xu, Wang, Chen, Ranasinghe, Nepal, "STRIP: A Defence Against Trojan Attacks on Deep
    Neural Networks" (ACSAC 2019), with the weight of TrojanZoo. By design it cannot detect attacks
    whose target depends on the image, such as all-to-all.
    """

    def __init__(
        self, clean_valid: ImageSet, *, overlays: int = 100, weight: float = 0.5, seed: int = 0
    ) -> None:
        images = TrainingFaces.of(clean_valid, torch.device("cpu"))
        chosen = torch.randperm(len(images), generator=seeded(seed))[:overlays]
        self.overlays = weight * images.pixels[chosen].float()

    @torch.inference_mode()
    def scores(self, network: Network, candidate: Candidate | None, pixels: Tensor) -> Tensor:
        """See `Detector.scores`; `candidate` is ignored."""
        overlays = self.overlays.to(network.device)
        scores = []
        for image in pixels.float():
            logits = network((image + overlays).clamp(max=255))
            log_probabilities = logits[are_finite(logits)].log_softmax(1)
            scores.append((log_probabilities.exp() * log_probabilities).sum(1).mean())
        if not scores:
            return pixels.new_zeros(0, dtype=network.dtype)
        return torch.stack(scores).where(are_finite(network(pixels)), torch.nan)
