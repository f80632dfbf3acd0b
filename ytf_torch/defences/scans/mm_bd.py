"""MM-BD: a class whose maximum margin over all other classes is unusually large."""

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
# Largest anomaly, that of a p-value of 1e-300; also for classes whose margin overflows.
HIGHEST = 300.0


class MaximumMargin:
    """Maximises max over images x of logit[c](x) − max over k ≠ c of logit[k](x) for every class c,
    by gradient ascent from random images. Uses no clean images.

    The class with the largest margin has anomaly −log₁₀ p, p being its p-value under a gamma
    distribution fitted to the margins of the other classes; these have anomaly 0. A class for which
    the ascent makes logits infinite or NaN has anomaly HIGHEST.

    starts: random images for each class. steps: maximum number of ascent steps. significance:
    p-value below which a class is a candidate.

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
        """See `Scan.suspicions`; `clean_valid` is ignored."""
        generator = seeded(self.seed)
        done = track("maximising margins (MM-BD)", network.classes, "classes")
        margins = []
        for label in range(network.classes):
            margins.append(self._largest_margin(network, label, generator))
            done(1)
        overflows = [not math.isfinite(margin) for margin in margins]
        anomaly = [HIGHEST if overflow else 0.0 for overflow in overflows]
        finite = [label for label, overflow in enumerate(overflows) if not overflow]
        if finite:
            top = max(finite, key=lambda label: margins[label])
            p = p_value([margins[label] for label in finite])
            anomaly[top] = -math.log10(max(p, 10**-HIGHEST))
        return Suspicions(tuple(anomaly), -float(np.log10(self.significance)))

    def _largest_margin(self, network: Network, label: int, generator: torch.Generator) -> float:
        """The largest margin of a class over all starts; NaN if logits were not finite."""
        shape = (self.starts, *network.input_shape)
        start = torch.rand(shape, generator=generator)
        images = start.to(network.device, network.dtype).requires_grad_()
        optimizer = torch.optim.SGD([images], self.learning_rate, self.momentum)
        before = float("inf")
        with torch.enable_grad():
            for _ in range(self.steps):
                margins = margin(network(WHITE * images.clamp(0, 1)), label)
                optimizer.zero_grad()
                torch.autograd.backward(-margins.sum(), inputs=[images])
                optimizer.step()
                total = float(margins.detach().sum())
                if abs(total - before) < 1e-5 * abs(before):
                    break
                before = total
            logits = network(WHITE * images.clamp(0, 1)).detach()
        # Logits that were not finite during the ascent have left images that are not finite, and
        # the margins of such images cannot be compared.
        if not bool(are_finite(logits).all() & images.isfinite().all()):
            return math.nan
        return float(margins.detach().max())


def margin(logits: Tensor, label: int) -> Tensor:
    """(batch, classes) → (batch,): logits[:, label] − the largest other logit."""
    others = logits.clone()
    others[:, label] = -torch.inf
    return logits[:, label] - others.amax(1)


def p_value(margins: list[float]) -> float:
    """p-value of the largest margin: 1 − F(largest)ⁿ, for n margins, where F is the cumulative
    distribution function of a gamma distribution fitted to all but the largest.

    1.0 if no distribution can be fitted.
    """
    values = np.asarray(margins)
    top = int(values.argmax())
    others = np.delete(values, top)
    if len(others) < 2 or np.ptp(others) == 0:
        return 1.0
    try:
        shape, location, scale = stats.gamma.fit(others)
    except (ArithmeticError, RuntimeError, ValueError):  # the fit fails for such margins
        return 1.0
    cumulative = stats.gamma.cdf(values[top], a=shape, loc=location, scale=scale)
    p = float(1 - cumulative ** len(values))
    return 1.0 if math.isnan(p) else p
