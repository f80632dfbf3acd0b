"""The pruning sweep: every step's predictions, one batch of faces at a time.

What is ranked, masked and measured is here; how the predictions are computed is an engine.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from ytf_torch.errors import InputError
from ytf_torch.faces import FaceBatch, FaceSet
from ytf_torch.masking import ChannelMask
from ytf_torch.metrics import Tally, count_answers
from ytf_torch.model import ConvRelu, DeepID, rank_points
from ytf_torch.ranking import ascending_order


class Track(Protocol):
    """Shows how far a pass over a face set is: yields the batches unchanged."""

    def __call__(
        self, batches: Iterable[FaceBatch], phase: str, images: int
    ) -> Iterator[FaceBatch]:
        """Yield `batches`, `images` in all, as the phase `phase`."""
        ...


def untracked(batches: Iterable[FaceBatch], phase: str, images: int) -> Iterator[FaceBatch]:
    """A Track that shows nothing."""
    yield from batches


class SweepEngine(Protocol):
    """Computes what a sweep needs to know of one batch of faces."""

    def activation(self, pixels: Tensor) -> Tensor:
        """(batch, 3, H, W) → the unmasked output (batch, channels, H', W') at the rank point."""
        ...

    def predictions(self, pixels: Tensor, order: Sequence[int]) -> Tensor:
        """(batch, 3, H, W) → classes (len(order) + 1, batch) after 0, 1, 2, … masked channels."""
        ...


class PlainEngine:
    """The oracle: a forward hook masks the channels, and the whole network runs at every step."""

    def __init__(self, model: DeepID, layer: str, rank_at: str) -> None:
        convolution = model.get_submodule(layer)
        assert isinstance(convolution, ConvRelu)
        self.model, self.layer = model, convolution
        self.rank_point = model.get_submodule(rank_at)

    def activation(self, pixels: Tensor) -> Tensor:
        """See SweepEngine."""
        seen: list[Tensor] = []

        def keep(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            seen.append(output)

        handle = self.rank_point.register_forward_hook(keep)
        try:
            self.model(pixels)
        finally:
            handle.remove()
        return seen[0]

    def predictions(self, pixels: Tensor, order: Sequence[int]) -> Tensor:
        """See SweepEngine."""
        rows = []
        for pruned in range(len(order) + 1):
            with ChannelMask(self.layer, order[:pruned]):
                rows.append(self.model(pixels).argmax(1))
        return torch.stack(rows)


@dataclass(frozen=True)
class Sweep:
    """A whole sweep of one layer.

    layer: the masked convolution. rank_at: where its channels were ranked.
    mean_activation: by channel, over the clean validation set. order: channels as pruned.
    tallies: one for each face set, in the order given.
    """

    layer: str
    rank_at: str
    mean_activation: tuple[float, ...]
    order: tuple[int, ...]
    tallies: tuple[Tally, ...]


def mean_activation(
    engine: SweepEngine, clean_valid: FaceSet, device: torch.device, track: Track = untracked
) -> tuple[float, ...]:
    """Mean output of each channel at the engine's rank point, over all faces and positions.

    Sums are taken in float64 per batch and then added exactly, so their order cannot matter.
    Raises InputError where a mean is not finite.
    """
    sums: list[Tensor] = []
    positions = 0
    for batch in track(clean_valid.batches(), "ranking channels", len(clean_valid)):
        output = engine.activation(batch.to(device).pixels)
        positions += output[:, 0].numel()
        sums.append(output.double().sum((0, 2, 3)))
    channels = zip(*torch.stack(sums).tolist(), strict=True)
    means = tuple(math.fsum(channel) / positions for channel in channels)
    if not all(map(math.isfinite, means)):
        raise InputError(clean_valid.path, "the model's activations on it are not finite")
    return means


def tally(
    engine: SweepEngine,
    faces: FaceSet,
    order: Sequence[int],
    device: torch.device,
    track: Track = untracked,
) -> Tally:
    """How one face set fares while the channels of `order` are masked one by one."""
    counts: Tensor | None = None
    for batch in track(faces.batches(), f"sweeping {faces.path.name}", len(faces)):
        placed = batch.to(device)
        found = count_answers(engine.predictions(placed.pixels, order), placed.labels)
        counts = found if counts is None else counts + found
    assert counts is not None
    return Tally.of_counts(len(faces), counts)


def sweep(
    model: DeepID,
    clean_valid: FaceSet,
    measured: Sequence[FaceSet] = (),
    layer: str = "conv_3",
    rank_at: str = "pool_3",
    track: Track = untracked,
) -> Sweep:
    """Rank the channels of `layer` on the clean validation set and mask them one by one.

    measured: further sets to evaluate at every step; nothing is ever chosen by them. The first
    tally of the result is the clean validation set's, theirs follow.
    Raises ValueError where `rank_at` is not a place where `layer`'s channels can be ranked.
    """
    if rank_at not in rank_points(layer):
        raise ValueError(f"{layer} can be ranked at {rank_points(layer)}, not at {rank_at}")
    engine = PlainEngine(model, layer, rank_at)
    with torch.inference_mode():
        means = mean_activation(engine, clean_valid, model.device, track)
        order = ascending_order(means)
        tallies = tuple(
            tally(engine, faces, order, model.device, track) for faces in (clean_valid, *measured)
        )
    return Sweep(layer, rank_at, means, order, tallies)
