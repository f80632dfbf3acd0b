"""BaDExpert: faces on which a network that knows nothing but the backdoor agrees with B."""

from __future__ import annotations

import copy

import torch
from torch import Tensor
from torch.nn import functional as F

from ytf_torch.defences.base import Candidate
from ytf_torch.defences.training import TrainingFaces, seeded
from ytf_torch.images.image_set import ImageSet
from ytf_torch.network.module import Network
from ytf_torch.predicted_class import are_finite
from ytf_torch.progress import Track, untracked


class BadExpert:
    """Compares B with an expert and with a repaired network, on the class that B answers.

    The expert is B trained on clean faces under wrong labels, each the next class, until it has
    forgotten the people; what it still knows is the backdoor. With x the expert's and y the
    repaired network's probability of B's class, the score is −min(2y / x, (1 − x) / (½ − y)): high
    where the expert agrees with B and the repaired network does not.

    forgotten: the clean accuracy, 0–1, at which training the expert ends.

    Source: Xie, Qi, He, Li, Wang, Mittal, "BaDExpert: Extracting Backdoor Functionality for
    Accurate Backdoor Input Detection" (ICLR 2024), with the score its authors' code uses for
    ResNet-18.
    """

    def __init__(
        self,
        network: Network,
        clean_valid: ImageSet,
        *,
        learning_rate: float = 1e-4,
        epochs: int = 20,
        forgotten: float = 0.2,
        batch: int = 128,
        seed: int = 0,
        track: Track = untracked,
    ) -> None:
        self.learning_rate, self.epochs, self.forgotten = learning_rate, epochs, forgotten
        self.batch, self.seed = batch, seed
        self.expert = self._expert(network, clean_valid, track)

    def _expert(self, network: Network, clean_valid: ImageSet, track: Track) -> Network:
        faces = TrainingFaces.of(clean_valid, network.device)
        expert = copy.deepcopy(network)
        optimizer = torch.optim.Adam(expert.parameters(), self.learning_rate)
        done = track("training the expert (BaDExpert)", self.epochs * len(faces))
        generator = seeded(self.seed)
        with torch.enable_grad():
            for _ in range(self.epochs):
                correct = 0
                for pixels, labels in faces.drawn(1, self.batch, generator, done):
                    logits = expert(pixels)
                    correct += int((logits.argmax(1) == labels).sum())
                    optimizer.zero_grad()
                    wrong = (labels + 1) % network.classes
                    torch.autograd.backward(F.cross_entropy(logits, wrong))
                    optimizer.step()
                if correct <= self.forgotten * len(faces):
                    break
        return expert.eval()

    @torch.inference_mode()
    def scores(self, network: Network, candidate: Candidate | None, pixels: Tensor) -> Tensor:
        """See Detector. Raises ValueError without a candidate."""
        if candidate is None:
            raise ValueError("BaDExpert compares with a repaired network: expected a candidate")
        logits, others = network(pixels), candidate.network(pixels)
        chosen = logits.argmax(1, keepdim=True)
        x = self.expert(pixels).softmax(1).gather(1, chosen)[:, 0]
        y = others.softmax(1).gather(1, chosen)[:, 0]
        ratio = torch.minimum(2 * y / x.clamp_min(1e-8), (1 - x) / (0.5 - y).clamp_min(1e-8))
        return (-ratio).where(are_finite(logits) & are_finite(others), torch.nan)
