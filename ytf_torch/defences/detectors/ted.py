"""TED: a triggered image comes near its predicted class only in the later layers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from ytf_torch.defences.base import Candidate
from ytf_torch.defences.detectors.inner_layers import InnerLayer, inner_layers, watched
from ytf_torch.defences.training import TrainingFaces, seeded
from ytf_torch.device import exact_float32
from ytf_torch.errors import CannotDetectError, argument
from ytf_torch.images.batches import BATCH_SIZE, whole_batch
from ytf_torch.images.image_set import ImageSet
from ytf_torch.network.module import Network
from ytf_torch.predicted_class import are_finite, classes_of
from ytf_torch.progress import Track, untracked

# A layer's ranks differ by at least one: less is no deviation.
MIN_DEVIATION = 1.0
# Smallest variance of a principal component. The average is 1.
MIN_VARIANCE = 0.01


class TopologicalEvolution:
    """Outlier score of the ranks of an image's nearest neighbour of the class y = argmax B(x):

        rank[l] = number of reference images nearer to x in layer l than the nearest of class y
        score = Σⱼ pⱼ² / max(λⱼ, 0.01)

    p: the ranks, standardised by those of the reference images, along their principal components;
    λ: the components' variances. References are clean validation images that B recognises. Images
    with the same pixels as x are left out, so that a reference is not its own neighbour; the rank
    is the number of references where none has the class y.

    Memory is bounded: `references` images are drawn with `seed`, `layers` of the layers with
    weights are taken, evenly spaced, the last one included, and the output of a layer with more
    than `values` values is reduced to that many by random signs and sums, which keeps squared
    distances on average.

    Source: Mo, Zhang, Zhang, Luo, Sun, Hu, Gao, Xiang, "Robust Backdoor Detection for Deep Learning
    via Topological Evolution Dynamics" (IEEE S&P 2024). The source takes all layers with all their
    values, and the outlier score of pyod; this is the one that pyod's goes back to (Shyu, Chen,
    Sarinnapakorn, Chang 2003). A threshold is only as good as the references: where clean
    validation images are frames of a few photos, each has neighbours that no other image has, and
    far more clean images than the nominal rate are flagged.
    """

    def __init__(
        self,
        network: Network,
        clean_valid: ImageSet,
        *,
        references: int = 8192,
        layers: int = 16,
        values: int = 512,
        seed: int = 0,
        track: Track = untracked,
    ) -> None:
        images = TrainingFaces.of(clean_valid, torch.device("cpu"))
        chosen = torch.randperm(len(images), generator=seeded(seed))[:references]
        images = TrainingFaces(images.pixels[chosen], images.labels[chosen])
        with exact_float32(), torch.inference_mode():
            found = inner_layers(network, images.pixels[:1].to(network.device))
            self.layers, self.values = _evenly(found, layers), values
            self._signs: dict[int, Tensor] = {}
            self.references = self._references(network, images, track)
            ranks = self.references.own_ranks()
        if len(ranks) < 2:
            raise CannotDetectError(
                clean_valid.path,
                "the detector ted needs two images of one class that the network recognises, "
                "found none",
                f"Give more images of each class, or choose another {argument('detector')}",
            )
        self.normal = _normal(ranks)

    @torch.inference_mode()
    def scores(self, network: Network, candidate: Candidate | None, pixels: Tensor) -> Tensor:
        """See `Detector.scores`; `candidate` is ignored."""
        logits, features = self._features(network, pixels)
        pairs = zip(features, self.references.centres, strict=True)
        centred = [outputs - centre for outputs, centre in pairs]
        ranks = self.references.ranks(centred, logits.argmax(1), _fingerprints(pixels))
        return self.normal.distance(ranks).where(are_finite(logits), torch.nan)

    def _features(self, network: Network, pixels: Tensor) -> tuple[Tensor, list[Tensor]]:
        """B's logits, and of each layer the output reduced to at most `values` values, (batch,
        values)."""
        outputs: dict[str, Tensor] = {}

        def keep(layer: InnerLayer, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            outputs[layer.path] = self._reduced(output.flatten(1))

        with watched(self.layers, keep):
            logits = network(pixels)
        return logits, [outputs[layer.path] for layer in self.layers]

    def _reduced(self, output: Tensor) -> Tensor:
        """(batch, n) → a new tensor (batch, min(n, values)): each value with a random sign, added
        to those that are a multiple of `values` places away."""
        size = output.shape[1]
        if size <= self.values:
            return output.clone()
        if size not in self._signs:
            signs = torch.randint(0, 2, (size,), generator=seeded(size)) * 2 - 1
            self._signs[size] = signs.to(output)
        signed = F.pad(output * self._signs[size], (0, -size % self.values))
        return signed.view(len(output), -1, self.values).sum(1)

    def _references(self, network: Network, images: TrainingFaces, track: Track) -> References:
        """The images that the network recognises."""
        done = track("reading layers (TED)", len(images))
        features: list[list[Tensor]] = [[] for _ in self.layers]
        labels, fingerprints = [], []
        for start in range(0, len(images), BATCH_SIZE):
            expected = images.labels[start : start + BATCH_SIZE].to(network.device)
            pixels = images.pixels[start : start + BATCH_SIZE].to(network.device)
            logits, outputs = self._features(network, whole_batch(pixels))
            known = classes_of(logits)[: len(expected)] == expected
            for kept, output in zip(features, outputs, strict=True):
                kept.append(output[: len(expected)][known])
            labels.append(expected[known])
            fingerprints.append(_fingerprints(pixels)[known])
            done(len(expected))
        centred = [torch.cat(kept) for kept in features]
        centres = [output.sum(0) / max(len(output), 1) for output in centred]
        for output, centre in zip(centred, centres, strict=True):
            output -= centre  # in place: the features take most of the memory
        return References(centred, centres, torch.cat(labels), torch.cat(fingerprints))


@dataclass(frozen=True)
class References:
    """Clean images that the network recognises.

    features: of each layer the reduced outputs minus their mean, (images, values). centres: these
    means, (values,). labels: (images,). fingerprints: of their pixels, (images,).
    """

    features: Sequence[Tensor]
    centres: Sequence[Tensor]
    labels: Tensor
    fingerprints: Tensor

    def ranks(self, features: Sequence[Tensor], classes: Tensor, fingerprints: Tensor) -> Tensor:
        """The ranks of images, (batch, layers), float64, see TopologicalEvolution. features: their
        reduced outputs minus the centres, of each layer (batch, values). classes, fingerprints:
        (batch,)."""
        same = fingerprints[:, None] == self.fingerprints
        of_class = (classes[:, None] == self.labels) & ~same
        ranks = []
        for outputs, references in zip(features, self.features, strict=True):
            # |x − r|² − |x|², which orders the references alike. Features are centred because the
            # difference of two large squares would be rounded.
            distances = references.square().sum(1) - 2 * outputs @ references.T
            distances = distances.masked_fill(same, torch.inf)
            nearest = distances.masked_fill(~of_class, torch.inf).amin(1, keepdim=True)
            ranks.append((distances < nearest).sum(1))
        return torch.stack(ranks, 1).double()

    def own_ranks(self) -> Tensor:
        """The ranks of the references themselves, (images, layers), on the CPU; of those alone that
        have another of their class."""
        ranks = [torch.zeros(0, len(self.features), dtype=torch.float64)]
        for chosen in torch.split(torch.arange(len(self.labels)), BATCH_SIZE):
            features = [references[chosen] for references in self.features]
            labels, fingerprints = self.labels[chosen], self.fingerprints[chosen]
            others = fingerprints[:, None] != self.fingerprints
            has_other = ((labels[:, None] == self.labels) & others).any(1)
            if has_other.any():
                found = self.ranks(features, labels, fingerprints)
                ranks.append(found[has_other].cpu())
        return torch.cat(ranks)


@dataclass(frozen=True)
class Normal:
    """Mean and deviation of the references' ranks, (layers,); components: the principal axes of the
    standardised ranks, (layers, components), each divided by its standard deviation."""

    mean: Tensor
    deviation: Tensor
    components: Tensor

    def distance(self, ranks: Tensor) -> Tensor:
        """(batch, layers) → the squared distance from the mean, (batch,), float64."""
        mean, deviation, components = (
            part.to(ranks.device) for part in (self.mean, self.deviation, self.components)
        )
        return (((ranks - mean) / deviation) @ components).square().sum(1)


def _normal(ranks: Tensor) -> Normal:
    """ranks: (images, layers), at least two images."""
    mean, deviation = ranks.mean(0), ranks.std(0).clamp_min(MIN_DEVIATION)
    standardised = (ranks - mean) / deviation
    covariance = standardised.T @ standardised / (len(ranks) - 1)
    variances, axes = torch.linalg.eigh(covariance)
    return Normal(mean, deviation, axes / variances.clamp_min(MIN_VARIANCE).sqrt())


def _evenly(layers: Sequence[InnerLayer], most: int) -> tuple[InnerLayer, ...]:
    """At most so many of the layers, evenly spaced, the last one included."""
    count = min(most, len(layers))
    return tuple(layers[(place + 1) * len(layers) // count - 1] for place in range(count))


def _fingerprints(pixels: Tensor) -> Tensor:
    """(batch, C, H, W) → (batch,), int64, equal for equal images: a sum of the bits of the float32
    pixel values with random factors, modulo 2⁶⁴."""
    bits = pixels.float().flatten(1).contiguous().view(torch.int32).long()
    factors = torch.randint(-(2**62), 2**62, (bits.shape[1],), generator=seeded(0))
    return (bits * factors.to(bits.device)).sum(1)
