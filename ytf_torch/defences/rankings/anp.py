"""Adversarial neuron pruning (ANP): prune first the channels most sensitive to perturbation."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from ytf_torch.defences.rankings.channel_factors import Factors, LearnedMasks, with_factors
from ytf_torch.defences.training import TrainingFaces, seeded
from ytf_torch.images.image_set import ImageSet
from ytf_torch.network.module import Network
from ytf_torch.progress import Track


class AdversarialNeuronPruning:
    """Learns a mask m in [0, 1] for each channel; its values are the scores. It minimises

        trade_off · L(m · w, b) + (1 − trade_off) · max over δ, ξ of L((m + δ) · w, (1 + ξ) · b)

    where L is the cross-entropy on clean images, w and b are the channels' kernels and biases, and
    |δ|, |ξ| ≤ perturbation; the maximum is approximated by one signed gradient step.

    iterations: number of batches for which the mask is trained.

    Source: Wu and Wang, "Adversarial Neuron Pruning Purifies Backdoored Deep Models"
    (NeurIPS 2021), with the defaults of its authors' code.
    """

    def __init__(
        self,
        *,
        perturbation: float = 0.4,
        trade_off: float = 0.2,
        iterations: int = 2000,
        batch: int = 128,
        learning_rate: float = 0.2,
        momentum: float = 0.9,
        seed: int = 0,
    ) -> None:
        self.perturbation, self.trade_off = perturbation, trade_off
        self.iterations, self.batch = iterations, batch
        self.learning_rate, self.momentum = learning_rate, momentum
        self.seed = seed

    def scores(
        self, network: Network, layer: str, clean_valid: ImageSet, track: Track
    ) -> Sequence[float]:
        """See `Ranking.scores`. Raises CannotRepairError if no weights scale the layer's channels.

        The masks of all convolutions are learned together; those of `layer` are returned.
        """
        images = TrainingFaces.of(clean_valid, network.device)
        generator = seeded(self.seed)
        learned = LearnedMasks(network, layer, self.learning_rate, self.momentum)
        masks = learned.factors
        epochs = -(-self.iterations * self.batch // len(images))
        done = track("learning masks (ANP)", self.iterations, "iterations")
        drawn = images.drawn(epochs, self.batch, generator, lambda _: None)
        for _, (pixels, labels) in zip(range(self.iterations), drawn, strict=False):
            kernels, biases = self._worst(network, masks, pixels, labels, generator)
            natural = F.cross_entropy(with_factors(network, pixels, masks), labels)
            perturbed = {name: masks[name] + kernels[name] for name in masks}
            logits = with_factors(
                network, pixels, perturbed, {name: 1 + noise for name, noise in biases.items()}
            )
            robust = F.cross_entropy(logits, labels)
            learned.learn(self.trade_off * natural + (1 - self.trade_off) * robust)
            done(1)
        return learned.scores()

    def _worst(
        self,
        network: Network,
        masks: Factors,
        pixels: Tensor,
        labels: Tensor,
        generator: torch.Generator,
    ) -> tuple[Factors, Factors]:
        """Perturbations of kernels and biases, by layer, that raise the loss: one signed gradient
        step from a uniform random start, clamped to ±perturbation."""

        def start(mask: Tensor) -> Tensor:
            noise = torch.rand(mask.shape, generator=generator) * 2 - 1
            return (noise * self.perturbation).to(mask).requires_grad_()

        kernels = {name: start(mask) for name, mask in masks.items()}
        biases = {name: start(mask) for name, mask in masks.items()}
        logits = with_factors(
            network,
            pixels,
            {name: masks[name].detach() + noise for name, noise in kernels.items()},
            {name: 1 + noise for name, noise in biases.items()},
        )
        noises = [*kernels.values(), *biases.values()]
        gradients = torch.autograd.grad(F.cross_entropy(logits, labels), noises)
        with torch.no_grad():
            for noise, gradient in zip(noises, gradients, strict=True):
                noise += self.perturbation * gradient.sign()
                noise.clamp_(-self.perturbation, self.perturbation).requires_grad_(False)
        return kernels, biases
