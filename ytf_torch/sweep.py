"""The pruning sweep: every step's predictions, one batch of faces at a time.

What is ranked, masked and measured is here; how the predictions are computed is an engine.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from typing import Protocol, TypeVar

import torch
from torch import Tensor, nn

from ytf_torch.distributed import gathered, share_of, together
from ytf_torch.errors import InputError
from ytf_torch.faces import BATCH_SIZE, FaceBatch, FaceSet
from ytf_torch.masking import ChannelMask
from ytf_torch.metrics import Tally, count_answers
from ytf_torch.model import ConvRelu, DeepID, rank_points
from ytf_torch.ranking import ascending_order

CACHE_BYTES = 256 * 2**20


@dataclass(frozen=True)
class Prepared:
    """Some images as an engine prepared them, filled up by whole_batch; labels (batch,), int64."""

    tensor: Tensor
    labels: Tensor


Batch = TypeVar("Batch", FaceBatch, Prepared)


class Track(Protocol):
    """Shows how far a pass over a face set is: yields the batches unchanged."""

    def __call__(self, batches: Iterable[Batch], phase: str, images: int) -> Iterator[Batch]:
        """Yield `batches`, `images` in all, as the phase `phase`."""
        ...


def untracked(batches: Iterable[Batch], phase: str, images: int) -> Iterator[Batch]:
    """A Track that shows nothing."""
    yield from batches


class SweepEngine(Protocol):
    """Computes what a sweep needs to know of faces, given in whole batches of BATCH_SIZE.

    group: how many images `predictions` likes to get at once.
    """

    group: int

    def observe(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """(batch, 3, H, W) → the unmasked output (batch, channels, H', W') at the rank point, and
        the images prepared: what of them does not change during the sweep, (batch, …)."""
        ...

    def predictions(self, prepared: Tensor, order: Sequence[int]) -> Tensor:
        """Prepared images → classes (len(order) + 1, batch) after 0, 1, 2, … masked channels."""
        ...


class PlainEngine:
    """The oracle: a forward hook masks the channels, and the whole network runs at every step."""

    group = 1

    def __init__(self, model: DeepID, layer: str, rank_at: str) -> None:
        convolution = model.get_submodule(layer)
        assert isinstance(convolution, ConvRelu)
        self.model, self.layer = model, convolution
        self.rank_point = model.get_submodule(rank_at)

    def observe(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """See SweepEngine."""
        seen: list[Tensor] = []

        def keep(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            seen.append(output)

        handle = self.rank_point.register_forward_hook(keep)
        try:
            self.model(pixels)
        finally:
            handle.remove()
        return seen[0], pixels

    def predictions(self, prepared: Tensor, order: Sequence[int]) -> Tensor:
        """See SweepEngine."""
        rows = []
        for pruned in range(len(order) + 1):
            with ChannelMask(self.layer, order[:pruned]):
                rows.append(self.model(prepared).argmax(1))
        return torch.stack(rows)


MakeEngine = Callable[[DeepID, str, str], SweepEngine]


@dataclass(frozen=True)
class Sweep:
    """A whole sweep of one layer.

    layer: the masked convolution. rank_at: where its channels were ranked.
    mean_activation: by channel, over the clean validation set. order: channels as pruned.
    tallies: one for each face set, in the order given. measured_activation: the same means as
    mean_activation, over each of the sets that were only measured.
    """

    layer: str
    rank_at: str
    mean_activation: tuple[float, ...]
    order: tuple[int, ...]
    tallies: tuple[Tally, ...]
    measured_activation: tuple[tuple[float, ...], ...] = ()


class MeanActivation:
    """Mean of a rank point's outputs by channel, over all images and positions.

    Each batch is summed in float64 and the sums are added exactly, so their order cannot matter.
    """

    def __init__(self, batches: int) -> None:
        """batches: how many there will be at most."""
        # One tensor: small ones kept between large short-lived ones break up the memory.
        self.sums = torch.zeros((0, 0))
        self.batches, self.added, self.positions = batches, 0, 0

    def add(self, output: Tensor) -> None:
        """output: (batch, channels, H, W)."""
        if not self.added:
            self.sums = output.new_zeros((self.batches, output.shape[1]), dtype=torch.float64)
        self.sums[self.added] = output.double().sum((0, 2, 3))
        self.added += 1
        self.positions += output[:, 0].numel()

    def by_channel(self) -> tuple[float, ...]:
        """The means of what was added, by all processes."""
        sums, positions = zip(*gathered((self.sums.tolist(), self.positions)), strict=True)
        channels = zip(*chain.from_iterable(sums), strict=True)
        return tuple(math.fsum(channel) / sum(positions) for channel in channels)


def batch_count(images: int) -> int:
    """How many batches so many images make."""
    return -(-images // BATCH_SIZE)


def whole_batch(pixels: Tensor) -> Tensor:
    """A batch filled up to BATCH_SIZE with copies of its last image.

    Matrix libraries add in an order that depends on how many rows a product has and on a row's
    place in it. In batches of one size an image's logits do not depend on what comes with it, so
    figures are the same however a set is cut or shared out, down to the last bit.
    """
    missing = BATCH_SIZE - len(pixels)
    return torch.cat([pixels, pixels[-1:].expand(missing, -1, -1, -1)]) if missing else pixels


def observed(
    engine: SweepEngine, batches: Iterable[FaceBatch], device: torch.device, mean: MeanActivation
) -> Iterator[Prepared]:
    """Prepare batches for the sweep, and add what the rank point gives to `mean`."""
    for batch in batches:
        placed = batch.to(device)
        output, prepared = engine.observe(whole_batch(placed.pixels))
        mean.add(output[: len(placed.labels)])
        yield Prepared(prepared, placed.labels)


def kept(batches: Iterable[Prepared], images: int) -> list[Prepared] | None:
    """All batches of a set of so many images, or None where they take more than CACHE_BYTES; all
    are taken from the iterator.

    They lie in one tensor: pieces kept one by one would leave the memory between them unusable.
    """
    found: list[Prepared] | None = []
    for batch in batches:
        rows = len(batch.tensor)
        if not found:
            capacity = batch_count(images) * rows
            if batch.tensor.nbytes // rows * capacity > CACHE_BYTES:
                found = None
            else:
                room = _room_like(batch.tensor, capacity)
        if found is not None:
            place = room[len(found) * rows : (len(found) + 1) * rows]
            found.append(Prepared(place.copy_(batch.tensor), batch.labels))
    return found


def grouped(batches: Iterable[Prepared], images: int) -> Iterator[Prepared]:
    """Put batches together, so many images in a group; the last may have fewer.

    A group's tensor is overwritten when the next one is asked for.
    """
    remaining, room = iter(batches), None
    while waiting := list(islice(remaining, batch_count(images))):
        if len(waiting) == 1:
            yield waiting[0]
            continue
        rows = sum(len(batch.tensor) for batch in waiting)
        room = _room_like(waiting[0].tensor, rows) if room is None else room[:rows]
        torch.cat([batch.tensor for batch in waiting], out=room)
        yield Prepared(room, torch.cat([batch.labels for batch in waiting]))


def _room_like(batch: Tensor, rows: int) -> Tensor:
    """An empty tensor of so many rows, laid out in memory as `batch` is."""
    return batch.new_empty_strided((rows, *batch.shape[1:]), batch.stride())


def tally(engine: SweepEngine, batches: Iterable[Prepared], order: Sequence[int]) -> Tally:
    """How prepared images fare while the channels of `order` are masked one by one."""
    images, counts = 0, torch.zeros((), dtype=torch.int64)
    for group in grouped(batches, engine.group):
        predictions = engine.predictions(group.tensor, order)[:, : len(group.labels)]
        counts = count_answers(predictions, group.labels) + counts
        images += len(group.labels)
    if not images:
        return Tally.empty(len(order))
    return Tally.of_counts(images, counts)


def total_tally(engine: SweepEngine, batches: Iterable[Prepared], order: Sequence[int]) -> Tally:
    """The tallies of all processes together, each of its own batches."""
    with together():
        own = tally(engine, batches, order)
    first, *others = gathered(own)
    return sum(others, start=first)


def sweep(
    model: DeepID,
    clean_valid: FaceSet,
    measured: Sequence[FaceSet] = (),
    layer: str = "conv_3",
    rank_at: str = "pool_3",
    engine: MakeEngine = PlainEngine,
    track: Track = untracked,
) -> Sweep:
    """Rank the channels of `layer` on the clean validation set and mask them one by one.

    measured: further sets to evaluate at every step; nothing is ever chosen by them. The first
    tally of the result is the clean validation set's, theirs follow. engine: how predictions are
    computed; every engine gives the same figures.
    Raises ValueError where `rank_at` is not a place where `layer`'s channels can be ranked.
    """
    if rank_at not in rank_points(layer):
        raise ValueError(f"{layer} can be ranked at {rank_points(layer)}, not at {rank_at}")
    device = model.device
    with torch.inference_mode():
        made = engine(model, layer, rank_at)

        def read(faces: FaceSet, phase: str, mean: MeanActivation) -> Iterator[Prepared]:
            return observed(made, track(faces.batches(), phase, len(faces)), device, mean)

        def share(faces: FaceSet) -> FaceSet:
            return share_of(faces, max(made.group, BATCH_SIZE))

        own = share(clean_valid)
        ranking = MeanActivation(batch_count(len(own)))
        with together():
            prepared = kept(read(own, "ranking channels", ranking), len(own))
        means = ranking.by_channel()
        if not all(map(math.isfinite, means)):
            raise InputError(clean_valid.path, "the model's activations on it are not finite")
        order = ascending_order(means)

        phase = f"sweeping {clean_valid.path.name}"
        if prepared is None:
            again = read(own, phase, MeanActivation(batch_count(len(own))))
            tallies = [total_tally(made, again, order)]
        else:
            tallies = [total_tally(made, track(prepared, phase, len(own)), order)]
        activations = []
        for faces in measured:
            part = share(faces)
            mean = MeanActivation(batch_count(len(part)))
            phase = f"sweeping {faces.path.name}"
            tallies.append(total_tally(made, read(part, phase, mean), order))
            activations.append(mean.by_channel())
    return Sweep(layer, rank_at, means, order, tuple(tallies), tuple(activations))
