"""IBD-PSC: the prediction for a triggered image survives when later layers are amplified."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call

from ytf_torch.defences.base import Candidate
from ytf_torch.defences.detectors.inner_layers import InnerLayer, inner_layers, watched
from ytf_torch.defences.training import TrainingFaces, seeded
from ytf_torch.device import exact_float32
from ytf_torch.errors import CannotDetectError, argument
from ytf_torch.images.batches import BATCH_SIZE, whole_batch
from ytf_torch.images.image_set import ImageSet
from ytf_torch.network.module import EndsInActivation, Network
from ytf_torch.predicted_class import are_finite, classes_of
from ytf_torch.progress import Track, untracked

# Each factor is 1.5 times the one before; the last is 25.6.
FACTORS = tuple(1.5**power for power in range(1, 9))

Weights = dict[str, Tensor]


class ParameterScaling:
    """Confidence in B's prediction y = argmax B(x) when the last k layers of B are amplified:

        score = −log mean over k of (1 − softmax(Bₖ(x))[y])

    where k counts up, over `networks` values, from the smallest number of layers whose
    amplification makes B err on more than `error` of the clean validation images. The published
    score is the mean of softmax(Bₖ(x))[y]: it orders images alike, but it rounds to 1 for many.

    Bₖ multiplies gamma and beta of the last k batch normalizations by a factor. The source has the
    factor 1.5; where no k reaches `error` with it, as on the published BadNet of GTSRB, this takes
    the next of FACTORS. If none reaches it, the factor and k with the most errors are taken.

    A network without batch normalization has no equivalent in the source. Multiplying the weights
    and biases of its layers hardly changes a class: with ReLUs and small biases the logits are
    merely multiplied. This is our adaptation: the deviations of a layer's sums z, before its
    activation, from their mean over clean images are amplified, z' = mean + factor · (z − mean),
    in the last k convolutions and dense layers before the one that computes the logits. On GTSRB,
    which has batch normalization, both ways flag alike: 97.5 and 96.8 % of triggered images.

    error, networks: as in the source. images: number of clean validation images, drawn with `seed`,
    on which errors and means are measured.

    Source: Hou, Feng, Hua, Luo, Zhang, Li, "IBD-PSC: Input-level Backdoor Detection via
    Parameter-oriented Scaling Consistency" (ICML 2024), with the defaults of BackdoorBox.
    """

    def __init__(
        self,
        network: Network,
        clean_valid: ImageSet,
        *,
        error: float = 0.6,
        networks: int = 5,
        images: int = 256,
        seed: int = 0,
        track: Track = untracked,
    ) -> None:
        known = TrainingFaces.of(clean_valid, torch.device("cpu"))
        chosen = torch.randperm(len(known), generator=seeded(seed))[:images]
        self._pixels, self._labels = known.pixels[chosen], known.labels[chosen]
        with exact_float32(), torch.inference_mode():
            self.layers = _amplifiable(network, self._pixels[:1].to(network.device))
            self.centres = self._centres(network)
            self.factor, first = self._start(network, error, track)
        self.counts = tuple(range(first, min(first + networks, len(self.layers) + 1)))

    @torch.inference_mode()
    def scores(self, network: Network, candidate: Candidate | None, pixels: Tensor) -> Tensor:
        """See `Detector.scores`; `candidate` is ignored. Amplified networks whose logits are not
        finite for an image are left out."""
        logits = network(pixels)
        predicted = logits.argmax(1, keepdim=True)
        doubts = []
        for count in self.counts:
            amplified = functional_call(network, self._amplified(self.factor, count), (pixels,))
            doubt = _doubt(amplified.double(), predicted)
            doubts.append(doubt.where(are_finite(amplified), torch.nan))
        each = torch.stack(doubts)
        counted = (~each.isnan()).sum(0)
        mean = each.where(~each.isnan(), -torch.inf).logsumexp(0) - counted.log()
        return (-mean).where(are_finite(logits) & (counted > 0), torch.nan)

    def _start(self, network: Network, error: float, track: Track) -> tuple[float, int]:
        """The factor and the smallest number of layers, see the class."""
        done = track("choosing an amplification (IBD-PSC)", len(FACTORS), "factors")
        most, start = -1, (FACTORS[0], 1)
        for factor in FACTORS:
            for count in range(1, len(self.layers) + 1):
                errors = self._errors(network, self._amplified(factor, count))
                if errors is None:  # more of it overflows too
                    return start
                if errors > most:
                    most, start = errors, (factor, count)
                if errors > error * len(self._labels):
                    return start
            done(1)
        return start

    def _errors(self, network: Network, weights: Weights) -> int | None:
        """How many clean images a network with these weights gets wrong; None where it has logits
        that are not finite."""
        wrong = 0
        for start in range(0, len(self._labels), BATCH_SIZE):
            labels = self._labels[start : start + BATCH_SIZE].to(network.device)
            pixels = self._pixels[start : start + BATCH_SIZE].to(network.device)
            logits = functional_call(network, weights, (whole_batch(pixels),))[: len(labels)]
            if not are_finite(logits).all():
                return None
            wrong += int((classes_of(logits) != labels).sum())
        return wrong

    def _amplified(self, factor: float, count: int) -> Weights:
        """The weights of the last `count` layers, amplified, by their path in the network."""
        weights: Weights = {}
        for layer in self.layers[-count:]:
            centre = self.centres[layer.path]
            kernel, bias = (getattr(layer.module, name) for name in (layer.kernel, "bias"))
            # Batch normalizations without gamma or beta, and layers without a bias, have None.
            weights[f"{layer.path}.{layer.kernel}"] = (
                torch.full_like(centre, factor) if kernel is None else factor * kernel
            )
            shift = -(factor - 1) * centre
            weights[f"{layer.path}.bias"] = shift if bias is None else factor * bias + shift
        return weights

    def _centres(self, network: Network) -> Mapping[str, Tensor]:
        """For each layer, by its path, what deviations are amplified from, (channels,): the mean of
        its sums, or 0 for a batch normalization, whose beta is amplified."""
        sums: dict[str, Tensor] = {}

        def add(layer: InnerLayer, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            channels = _by_channel(layer.module, _before_activation(layer.module, inputs, output))
            found = torch.zeros_like(channels[0]) if layer.normalizes else channels.mean(0)
            sums[layer.path] = sums.get(layer.path, 0) + found * len(output)

        with watched(self.layers, add):
            for pixels in torch.split(self._pixels, BATCH_SIZE):
                network(pixels.to(network.device))
        return {path: total / len(self._pixels) for path, total in sums.items()}


def _amplifiable(network: Network, pixels: Tensor) -> Sequence[InnerLayer]:
    """The layers that are amplified, see ParameterScaling, in the order of computation."""
    layers = inner_layers(network, pixels)
    if normalizations := [layer for layer in layers if layer.normalizes]:
        return normalizations
    # The last one computes the logits: amplified, they have the same argmax.
    if len(layers) > 1:
        return layers[:-1]
    raise CannotDetectError(
        "the network, for the detector ibd-psc",
        "it has no layer with weights before the one that computes its logits",
        f"Choose another with {argument('detector')}",
    )


def _doubt(logits: Tensor, predicted: Tensor) -> Tensor:
    """log(1 − softmax[predicted]), (batch,), also where the softmax rounds to 1. predicted: (batch,
    1)."""
    others = logits.scatter(1, predicted, -torch.inf)
    return others.logsumexp(1) - logits.logsumexp(1)


def _before_activation(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
    return module.before_activation(inputs[0]) if isinstance(module, EndsInActivation) else output


def _by_channel(module: nn.Module, output: Tensor) -> Tensor:
    """A layer's output as (values, channels), float."""
    # A dense layer's units come last, also where it is computed for each of several positions.
    last = output if isinstance(module, nn.Linear) else output.movedim(1, -1)
    return last.flatten(0, -2)
