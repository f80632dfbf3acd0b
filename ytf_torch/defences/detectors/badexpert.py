"""BaDExpert: compares B with a network that retains only the backdoor."""

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
    """Compares B with a backdoor expert and with a repaired network, on the class B predicts.

    The expert is a copy of B, fine-tuned on clean images with wrong labels (label + 1 mod N) until
    it has unlearned the clean task and only the backdoor is left. With y* = argmax B, x = the
    expert's softmax[y*] and y = the repaired network's softmax[y*],

        score = −min(2y / x, (1 − x) / (½ − y))

    which is high where the expert agrees with B and the repaired network does not.

    forgotten: clean accuracy, 0–1, at or below which training of the expert stops.

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
        images = TrainingFaces.of(clean_valid, network.device)
        expert = copy.deepcopy(network)
        optimizer = torch.optim.Adam(expert.parameters(), self.learning_rate)
        done = track("training the expert (BaDExpert)", self.epochs * len(images))
        generator = seeded(self.seed)
        with torch.enable_grad():
            for _ in range(self.epochs):
                correct = 0
                for pixels, labels in images.drawn(1, self.batch, generator, done):
                    logits = expert(pixels)
                    correct += int((logits.argmax(1) == labels).sum())
                    optimizer.zero_grad()
                    wrong = (labels + 1) % network.classes
                    torch.autograd.backward(F.cross_entropy(logits, wrong))
                    optimizer.step()
                if correct <= self.forgotten * len(images):
                    break
        return expert.eval()

    @torch.inference_mode()
    def scores(self, network: Network, candidate: Candidate | None, pixels: Tensor) -> Tensor:
        """See `Detector.scores`. Raises ValueError if `candidate` is None."""
        if candidate is None:
            raise ValueError("BaDExpert compares with a repaired network: expected a candidate")
        logits, repaired_logits = network(pixels), candidate.network(pixels)
        predicted = logits.argmax(1, keepdim=True)
        x = self.expert(pixels).softmax(1).gather(1, predicted)[:, 0]
        y = repaired_logits.softmax(1).gather(1, predicted)[:, 0]
        # The clamps avoid a division by zero, and by a negative ½ − y.
        ratio = torch.minimum(2 * y / x.clamp_min(1e-8), (1 - x) / (0.5 - y).clamp_min(1e-8))
        return (-ratio).where(are_finite(logits) & are_finite(repaired_logits), torch.nan)
