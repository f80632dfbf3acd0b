"""STRIP: a face whose class survives when other faces are laid over it."""

from __future__ import annotations

import torch
from torch import Tensor

from ytf_torch.defences.base import Candidate
from ytf_torch.defences.training import TrainingFaces, seeded
from ytf_torch.images.image_set import ImageSet
from ytf_torch.network.module import Network
from ytf_torch.predicted_class import are_finite


class Strip:
    """Minus the mean entropy, in nats, of B's answers to a face blended with clean faces.

    clean_valid: where the faces that are laid over it come from. overlays: how many. weight: by
    which they are multiplied before they are added; the face itself stays as it is, and what gets
    brighter than white is white. Blends on which B is not finite are left out.

    Source: Gao, Xu, Wang, Chen, Ranasinghe, Nepal, "STRIP: A Defence Against Trojan Attacks on Deep
    Neural Networks" (ACSAC 2019), with the weight of TrojanZoo. It fails by design where the target
    depends on the face.
    """

    def __init__(
        self, clean_valid: ImageSet, *, overlays: int = 100, weight: float = 0.5, seed: int = 0
    ) -> None:
        faces = TrainingFaces.of(clean_valid, torch.device("cpu"))
        chosen = torch.randperm(len(faces), generator=seeded(seed))[:overlays]
        self.overlays = weight * faces.pixels[chosen].float()

    @torch.inference_mode()
    def scores(self, network: Network, candidate: Candidate | None, pixels: Tensor) -> Tensor:
        """See Detector."""
        overlays = self.overlays.to(network.device)
        found = []
        for face in pixels.float():
            logits = network((face + overlays).clamp(max=255))
            answers = logits[are_finite(logits)].log_softmax(1)
            found.append((answers.exp() * answers).sum(1).mean())
        if not found:
            return pixels.new_zeros(0, dtype=network.dtype)
        return torch.stack(found).where(are_finite(network(pixels)), torch.nan)
