"""I-BAU: unlearning the perturbation that fools the network on most clean faces."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator

import torch
from torch import Tensor
from torch.nn import functional as F

from ytf_torch.defences.base import Candidate
from ytf_torch.defences.repairs.smaller_rates import first_that_still_knows
from ytf_torch.defences.training import TrainingFaces, known, seeded
from ytf_torch.images.image_set import ImageSet
from ytf_torch.network.module import Network
from ytf_torch.progress import Track

WHITE = 255.0


class AdversarialUnlearning:
    """Rounds of two steps: find one perturbation, added to every face, that raises the loss on
    clean validation faces; then change the weights so that it does not any more, following the
    gradient through the perturbation as well (the implicit hypergradient).

    norm: the largest Euclidean norm of the perturbation, where 1 is a whole pixel value from black
    to white. share: of the faces in a batch that carry it when weights are changed.
    fixed_point_steps: terms of the series for the hypergradient. Where the first round ends the
    network, the learning rate is reduced, see smaller_rates.py.

    Source: Zeng, Chen, Park, Mao, Jin, Jia, "Adversarial Unlearning of Backdoors via Implicit
    Hypergradient" (ICLR 2022), with the defaults of its authors' code.
    """

    def __init__(
        self,
        *,
        rounds: int = 5,
        norm: float = 10.0,
        learning_rate: float = 1e-3,
        perturbation_rate: float = 10.0,
        inner_rate: float = 0.1,
        penalty: float = 1e-3,
        fixed_point_steps: int = 5,
        share: float = 0.01,
        batch: int = 100,
        seed: int = 0,
    ) -> None:
        self.rounds, self.norm, self.learning_rate = rounds, norm, learning_rate
        self.perturbation_rate, self.inner_rate, self.penalty = (
            perturbation_rate,
            inner_rate,
            penalty,
        )
        self.fixed_point_steps, self.share = fixed_point_steps, share
        self.batch, self.seed = batch, seed

    def candidates(
        self, network: Network, clean_valid: ImageSet, track: Track
    ) -> Iterator[Candidate]:
        """See Repair."""
        faces = TrainingFaces.of(clean_valid, network.device)
        done = track("unlearning (I-BAU)", 2 * self.rounds * len(faces))
        unlearned, share = first_that_still_knows(
            lambda share, required: self._unlearned(network, faces, share, required, done),
            known(network, faces),
        )
        history = f"unlearned by I-BAU on {len(faces)} clean faces in {self.rounds} rounds"
        if share < 1:
            history += f", at {share:.3g} of its learning rate"
        yield Candidate("i-bau", unlearned.eval(), (history,))

    def _unlearned(
        self,
        network: Network,
        faces: TrainingFaces,
        share: float,
        required: float,
        done: Callable[[int], None],
    ) -> Network | None:
        """A copy, trained at a share of the learning rate; None where it recognises fewer than
        `required` faces after the first round."""
        generator = seeded(self.seed)
        unlearned = copy.deepcopy(network).train()
        optimizer = torch.optim.Adam(unlearned.parameters(), share * self.learning_rate)
        with torch.enable_grad():
            for round_ in range(self.rounds):
                perturbation = torch.zeros(
                    network.input_shape, dtype=network.dtype, device=network.device
                )
                for pixels, labels in faces.drawn(1, self.batch, generator, done):
                    perturbation = self._raised(unlearned, perturbation, pixels, labels)
                perturbation *= (self.norm / perturbation.norm().clamp_min(1e-12)).clamp_max(1)
                for pixels, labels in faces.drawn(1, self.batch, generator, done):
                    self._follow_hypergradient(
                        unlearned, optimizer, perturbation, pixels, labels, generator
                    )
                if round_ == 0:
                    if known(unlearned.eval(), faces) < required:
                        return None
                    unlearned.train()
        return unlearned

    def _inner(self, network: Network, delta: Tensor, pixels: Tensor, labels: Tensor) -> Tensor:
        """What the perturbation minimises: minus the loss on faces that carry it."""
        logits = network(pixels.to(network.dtype) + WHITE * delta)
        return self.penalty * delta.square().sum() - F.cross_entropy(logits, labels)

    def _raised(
        self, network: Network, perturbation: Tensor, pixels: Tensor, labels: Tensor
    ) -> Tensor:
        """The perturbation after one step on a batch."""
        delta = perturbation.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(self._inner(network, delta, pixels, labels), delta)
        return (delta - self.perturbation_rate * gradient).detach()

    def _follow_hypergradient(
        self,
        network: Network,
        optimizer: torch.optim.Optimizer,
        perturbation: Tensor,
        pixels: Tensor,
        labels: Tensor,
        generator: torch.Generator,
    ) -> None:
        """One step of the weights."""
        parameters = list(network.parameters())
        delta = perturbation.detach().requires_grad_()
        carrying = torch.randperm(len(pixels), generator=generator) < self.share * len(pixels)
        worn = carrying.to(delta).view(-1, 1, 1, 1) * delta
        outer = F.cross_entropy(network(pixels.to(network.dtype) + WHITE * worn), labels)
        direct = torch.autograd.grad(outer, [delta, *parameters], materialize_grads=True)
        inner = self._inner(network, delta, pixels, labels)
        (slope,) = torch.autograd.grad(inner, delta, create_graph=True)
        mapped = delta - self.inner_rate * slope
        series = direct[0]
        for _ in range(self.fixed_point_steps):
            (pulled,) = torch.autograd.grad(mapped, delta, series, retain_graph=True)
            series = pulled + direct[0]
        through = torch.autograd.grad(mapped, parameters, series, allow_unused=True)
        for parameter, plain, implicit in zip(parameters, direct[1:], through, strict=True):
            parameter.grad = plain if implicit is None else plain + implicit
        optimizer.step()
