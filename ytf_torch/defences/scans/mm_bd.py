"""MM-BD: a class whose margin over all others can be driven unusually high."""

from __future__ import annotations

import math

import numpy as np
import torch
from scipy import stats
from torch import Tensor

from ytf_torch.defences.base import Suspicions
from ytf_torch.defences.training import seeded
from ytf_torch.images.image_set import ImageSet
from ytf_torch.network.module import Network
from ytf_torch.predicted_class import are_finite
from ytf_torch.progress import Track

WHITE = 255.0
# The anomaly of a p-value of 1e-300, and of what no p-value says.
HIGHEST = 300.0


class MaximumMargin:
    """The largest margin of each class over the best other one that gradient ascent finds from
    random pictures; it needs no faces.

    The anomaly of the class with the largest margin is −log₁₀ of its p-value under a gamma
    distribution fitted to the other classes' margins; all other classes have 0. A class whose
    margin is driven until logits are not finite has the largest anomaly that there is.

    Source: Wang, Xiang, Miller, Kesidis, "MM-BD: Post-Training Detection of Backdoor Attacks with
    Arbitrary Backdoor Pattern Types Using a Maximum Margin Statistic" (IEEE S&P 2024), with the
    defaults of its authors' code; steps are in shares of the range from black to white.
    """

    def __init__(
        self,
        *,
        starts: int = 30,
        steps: int = 300,
        learning_rate: float = 1e-2,
        momentum: float = 0.2,
        significance: float = 0.05,
        seed: int = 0,
    ) -> None:
        self.starts, self.steps = starts, steps
        self.learning_rate, self.momentum = learning_rate, momentum
        self.significance, self.seed = significance, seed

    def suspicions(self, network: Network, clean_valid: ImageSet, track: Track) -> Suspicions:
        """See Scan."""
        generator = seeded(self.seed)
        done = track("maximising margins (MM-BD)", network.classes, "classes")
        margins = []
        for label in range(network.classes):
            margins.append(self._largest_margin(network, label, generator))
            done(1)
        overflows = [not math.isfinite(margin) for margin in margins]
        anomaly = [HIGHEST if overflowing else 0.0 for overflowing in overflows]
        finite = [label for label, overflowing in enumerate(overflows) if not overflowing]
        if finite:
            top = max(finite, key=lambda label: margins[label])
            value = p_value([margins[label] for label in finite])
            anomaly[top] = -math.log10(max(value, 10**-HIGHEST))
        return Suspicions(tuple(anomaly), -float(np.log10(self.significance)))

    def _largest_margin(self, network: Network, label: int, generator: torch.Generator) -> float:
        shape = (self.starts, *network.input_shape)
        start = torch.rand(shape, generator=generator)
        pictures = start.to(network.device, network.dtype).requires_grad_()
        optimizer = torch.optim.SGD([pictures], self.learning_rate, self.momentum)
        before = float("inf")
        with torch.enable_grad():
            for _ in range(self.steps):
                margins = margin(network(WHITE * pictures.clamp(0, 1)), label)
                optimizer.zero_grad()
                torch.autograd.backward(-margins.sum(), inputs=[pictures])
                optimizer.step()
                now = float(margins.detach().sum())
                if abs(now - before) < 1e-5 * abs(before):
                    break
                before = now
            logits = network(WHITE * pictures.clamp(0, 1)).detach()
        # Where logits are not finite at the end, or the way led over such, nothing is comparable.
        if not bool(are_finite(logits).all() & pictures.isfinite().all()):
            return math.nan
        return float(margins.detach().max())


def margin(logits: Tensor, label: int) -> Tensor:
    """(batch, classes) → (batch,): how far the logit of `label` is above the best other one."""
    others = logits.clone()
    others[:, label] = -torch.inf
    return logits[:, label] - others.amax(1)


def p_value(margins: list[float]) -> float:
    """How likely the largest of so many margins is at least this large if all come from one gamma
    distribution, fitted to all but the largest."""
    values = np.asarray(margins)
    top = int(values.argmax())
    others = np.delete(values, top)
    if len(others) < 2 or np.ptp(others) == 0:
        return 1.0
    try:
        shape, location, scale = stats.gamma.fit(others)
    except (ArithmeticError, RuntimeError, ValueError):  # no such distribution has these margins
        return 1.0
    below = stats.gamma.cdf(values[top], a=shape, loc=location, scale=scale)
    found = float(1 - below ** len(values))
    return 1.0 if math.isnan(found) else found
