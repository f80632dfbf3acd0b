"""Reconstructive neuron pruning (RNP): channels that do not bring back what was forgotten go."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch.nn import functional as F

from ytf_torch.defences.rankings.channel_factors import LearnedMasks, with_factors
from ytf_torch.defences.training import TrainingFaces, seeded
from ytf_torch.images.image_set import ImageSet
from ytf_torch.network.module import Network
from ytf_torch.progress import Track


class ReconstructiveNeuronPruning:
    """A copy of the network is made to forget the clean faces; then a mask of 0–1 for each channel
    is learned that brings its accuracy back, and the mask's values are the scores.

    forgotten: the clean accuracy, 0–1, at which forgetting ends. unlearning_rate and
    unlearning_epochs: of gradient ascent. learning_rate, epochs, momentum, weight: of the masks.

    Source: Li, Lyu, Ma, Koren, Lyu, Li, Jiang, "Reconstructive Neuron Pruning for Backdoor Defense"
    (ICML 2023), with the defaults of its authors' code.
    """

    def __init__(
        self,
        *,
        forgotten: float = 0.2,
        unlearning_rate: float = 0.01,
        unlearning_epochs: int = 20,
        learning_rate: float = 0.2,
        epochs: int = 20,
        momentum: float = 0.9,
        weight: float = 0.2,
        batch: int = 128,
        seed: int = 0,
    ) -> None:
        self.forgotten = forgotten
        self.unlearning_rate, self.unlearning_epochs = unlearning_rate, unlearning_epochs
        self.learning_rate, self.epochs, self.momentum = learning_rate, epochs, momentum
        self.weight, self.batch, self.seed = weight, batch, seed

    def scores(
        self, network: Network, layer: str, clean_valid: ImageSet, track: Track
    ) -> Sequence[float]:
        """See Ranking. All convolutions are masked together; the scores are those of `layer`.
        Raises CannotRepairError where its weights cannot be masked."""
        faces = TrainingFaces.of(clean_valid, network.device)
        generator = seeded(self.seed)
        learned = LearnedMasks(network, layer, self.learning_rate, self.momentum)
        forgetful = self._forgetful(network, faces, generator, track)
        done = track("learning masks (RNP)", self.epochs * len(faces))
        for pixels, labels in faces.drawn(self.epochs, self.batch, generator, done):
            logits = with_factors(forgetful, pixels, learned.factors)
            learned.learn(self.weight * F.cross_entropy(logits, labels))
        return learned.scores()

    def _forgetful(
        self, network: Network, faces: TrainingFaces, generator: torch.Generator, track: Track
    ) -> Network:
        """A copy that gradient ascent made forget the clean faces."""
        forgetful = copy.deepcopy(network)
        optimizer = torch.optim.SGD(
            forgetful.parameters(), lr=self.unlearning_rate, momentum=self.momentum
        )
        done = track("unlearning clean faces (RNP)", self.unlearning_epochs * len(faces))
        for _ in range(self.unlearning_epochs):
            correct = 0
            for pixels, labels in faces.drawn(1, self.batch, generator, done):
                logits = forgetful(pixels)
                correct += int((logits.argmax(1) == labels).sum())
                optimizer.zero_grad()
                torch.autograd.backward(-F.cross_entropy(logits, labels))
                # Ascent has no end of its own: without a limit the weights overflow.
                torch.nn.utils.clip_grad_norm_(forgetful.parameters(), max_norm=20)
                optimizer.step()
            if correct <= self.forgotten * len(faces):
                break
        return forgetful
