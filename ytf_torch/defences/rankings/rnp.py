"""Reconstructive neuron pruning (RNP): channels not needed to relearn clean images go first."""

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
    """A copy of the network unlearns the clean images by gradient ascent. Then a mask in [0, 1] for
    each channel is learned that restores its clean accuracy; the mask's values are the scores.

    forgotten: clean accuracy, 0–1, at or below which unlearning stops. unlearning_rate: learning
    rate of gradient ascent. unlearning_epochs: its maximum length. learning_rate, epochs: of the
    masks. weight: factor of their loss. momentum: of both.

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
        """See `Ranking.scores`. Raises CannotRepairError if no weights scale the layer's channels.

        The masks of all convolutions are learned together; those of `layer` are returned.
        """
        images = TrainingFaces.of(clean_valid, network.device)
        generator = seeded(self.seed)
        learned = LearnedMasks(network, layer, self.learning_rate, self.momentum)
        unlearned = self._unlearned(network, images, generator, track)
        done = track("learning masks (RNP)", self.epochs * len(images))
        for pixels, labels in images.drawn(self.epochs, self.batch, generator, done):
            logits = with_factors(unlearned, pixels, learned.factors)
            learned.learn(self.weight * F.cross_entropy(logits, labels))
        return learned.scores()

    def _unlearned(
        self, network: Network, images: TrainingFaces, generator: torch.Generator, track: Track
    ) -> Network:
        """A copy of the network after gradient ascent on the clean images."""
        unlearned = copy.deepcopy(network)
        optimizer = torch.optim.SGD(
            unlearned.parameters(), lr=self.unlearning_rate, momentum=self.momentum
        )
        done = track("unlearning clean faces (RNP)", self.unlearning_epochs * len(images))
        for _ in range(self.unlearning_epochs):
            correct = 0
            for pixels, labels in images.drawn(1, self.batch, generator, done):
                logits = unlearned(pixels)
                correct += int((logits.argmax(1) == labels).sum())
                optimizer.zero_grad()
                torch.autograd.backward(-F.cross_entropy(logits, labels))
                # Gradient ascent does not converge: without clipping the weights overflow.
                torch.nn.utils.clip_grad_norm_(unlearned.parameters(), max_norm=20)
                optimizer.step()
            if correct <= self.forgotten * len(images):
                break
        return unlearned
