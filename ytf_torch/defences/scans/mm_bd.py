"""MM-BD: a class whose maximum margin over all other classes is unusually large."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from ytf_torch.defences.base import Suspicions
from ytf_torch.defences.scans.examined import (
    MOST_CLASSES,
    Examined,
    chosen_by,
    number_examined,
)
from ytf_torch.defences.training import seeded
from ytf_torch.images.image_set import ImageSet
from ytf_torch.network.module import Network
from ytf_torch.predicted_class import are_finite
from ytf_torch.progress import Track

WHITE = 255.0
# The short look: 80 images a class, where a full ascent has up to 9,000.
LOOK_STARTS, LOOK_STEPS = 4, 20
# Largest anomaly, that of a p-value of 1e-300; also for classes whose margin overflows.
HIGHEST = 300.0


class MaximumMargin:
    """Maximises max over images x of logit[c](x) − max over k ≠ c of logit[k](x) for every class c,
    by gradient ascent from random images. Uses no clean images.

    The class with the largest margin has anomaly −log₁₀ p, p being its p-value under a gamma
    distribution fitted to the margins of the other classes; these have anomaly 0. A class for which
    the ascent makes logits infinite or NaN has anomaly HIGHEST.

    Of more classes than MOST_CLASSES only some are examined in full, see `Examined`: those with the
    largest margins after LOOK_STEPS steps from LOOK_STARTS images, and a random sample of the
    others, to which the distribution is fitted.

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
        if network.classes <= MOST_CLASSES:
            margins = self._margins(network, range(network.classes), "maximising margins", track)
            return self._judged(network.classes, margins, None)
        brief = MaximumMargin(
            starts=LOOK_STARTS,
            steps=LOOK_STEPS,
            learning_rate=self.learning_rate,
            momentum=self.momentum,
            seed=self.seed,
        )
        look = brief._margins(network, range(network.classes), "a short look at all", track)
        # A class whose logits overflow is looked at first.
        scores = [HIGHEST if math.isnan(margin) else margin for margin in look.values()]
        examined = chosen_by(scores, self.seed)
        margins = self._margins(network, examined.labels, "maximising margins", track)
        return self._judged(network.classes, margins, examined)

    def images_shown(self, classes: int) -> int:
        """Largest number of images that pass through a network of so many classes, with gradients;
        the ascent may end earlier."""
        look = 0 if classes <= MOST_CLASSES else LOOK_STARTS * LOOK_STEPS * classes
        return look + self.starts * self.steps * number_examined(classes)

    def _margins(
        self, network: Network, classes: Sequence[int], phase: str, track: Track
    ) -> dict[int, float]:
        """The largest margin of each of `classes`; NaN where logits were not finite."""
        generator = seeded(self.seed)
        done = track(f"{phase} (MM-BD)", len(classes), "classes")
        margins: dict[int, float] = {}
        for label in classes:
            margins[label] = self._largest_margin(network, label, generator)
            done(1)
        return margins

    def _judged(
        self, classes: int, margins: Mapping[int, float], examined: Examined | None
    ) -> Suspicions:
        anomaly = [0.0] * classes
        for label, margin in margins.items():
            anomaly[label] = 0.0 if math.isfinite(margin) else HIGHEST
        finite = {label: margin for label, margin in margins.items() if math.isfinite(margin)}
        if finite:
            top = max(finite, key=lambda label: finite[label])
            usual = finite if examined is None else set(examined.sample) & finite.keys()
            others = [finite[label] for label in usual if label != top]
            number = len(finite) if examined is None else classes
            p = p_value(finite[top], others, number)
            anomaly[top] = -math.log10(max(p, 10**-HIGHEST))
        labels = None if examined is None else examined.labels
        return Suspicions(tuple(anomaly), -float(np.log10(self.significance)), examined=labels)

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


def p_value(largest: float, others: Sequence[float], classes: int) -> float:
    """p-value of the largest of the margins of so many classes: 1 − F(largest)ⁿ, n = classes, where
    F is the cumulative distribution function of a gamma distribution fitted to `others`.

    1.0 if no distribution can be fitted.
    """
    # Takes a second, and most processes that may scan do not: commands, workers of comparisons.
    from scipy import stats

    values = np.asarray(others)
    if len(values) < 2 or np.ptp(values) == 0:
        return 1.0
    try:
        shape, location, scale = stats.gamma.fit(values)
    except (ArithmeticError, RuntimeError, ValueError):  # the fit fails for such margins
        return 1.0
    cumulative = stats.gamma.cdf(largest, a=shape, loc=location, scale=scale)
    p = float(1 - cumulative**classes)
    return 1.0 if math.isnan(p) else p
