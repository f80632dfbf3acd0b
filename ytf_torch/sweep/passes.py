"""The pruning sweep: rank the channels of a layer, mask them one by one, measure every step.

This module decides what is ranked, masked and counted. An engine computes the predictions.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ytf_torch.device import exact_float32
from ytf_torch.distributed import gathered, together
from ytf_torch.errors import InputError
from ytf_torch.images.batches import batch_count, whole_batch
from ytf_torch.images.image_set import ImageBatch, ImageSet
from ytf_torch.images.shares import share_of
from ytf_torch.metrics import Tally, count_answers
from ytf_torch.network.budget import check_swept
from ytf_torch.network.module import Network
from ytf_torch.network.pruned_layer import pruned_at, rank_points
from ytf_torch.progress import Track, untracked
from ytf_torch.sweep.activation import Activation, ActivationSums, mean_activation
from ytf_torch.sweep.engine import MakeEngine, SweepEngine
from ytf_torch.sweep.journal import Figures, Forgetful, Journal, Swept
from ytf_torch.sweep.order import Direction, pruning_order
from ytf_torch.sweep.plain import PlainEngine
from ytf_torch.sweep.prepared import Kept, Prepared, group_sizes, grouped, keep
from ytf_torch.sweep.workers import Workers, workers

# Memory limit for the prepared images of the ranked set. Pieces that do not fit are prepared a
# second time for the sweep.
CACHE_BYTES = 256 * 2**20
# Images per journal entry. A constant, because a resumed run must cut a set into the same pieces
# on any machine and with any number of processes.
PIECE = 8192


@dataclass(frozen=True)
class Sweep:
    """Result of a complete sweep of one layer.

    layer: the masked convolution. rank_at: the layer whose output ranked its channels.
    mean_activation: per channel, over the clean validation set. order: channel indices in pruning
    order. tallies: one per image set, the clean validation set first. measured_activation: mean
    activation per channel on each of the other sets. direction: "ascending" where the channels
    that rank lowest were pruned first.
    """

    layer: str
    rank_at: str
    mean_activation: tuple[float, ...]
    order: tuple[int, ...]
    tallies: tuple[Tally, ...]
    measured_activation: tuple[tuple[float, ...], ...] = ()
    direction: Direction = "ascending"


@dataclass(frozen=True)
class Part:
    """This process's share of one piece of an image set, and what the ranking pass kept of it.

    own: the share's images. activation: of the whole piece, over all processes; None for sets that
    are only measured. kept: the share's prepared images; None where they exceed CACHE_BYTES.
    """

    own: ImageSet
    activation: Activation | None = None
    kept: Kept | None = None

    @property
    def name(self) -> str:
        """Journal key of the prepared images of a ranked part."""
        return f"ranked-images-{self.own.first}-{len(self.own)}"


class _Sweeper:
    """The two passes of a sweep, piece by piece. Counts and sums are those of all processes."""

    def __init__(
        self, workers: Workers, device: torch.device, track: Track, journal: Journal
    ) -> None:
        self.workers, self.device, self.track, self.journal = workers, device, track, journal

    def parts(self, images: ImageSet) -> list[Part]:
        """Cut a set into pieces, and take this process's share of each."""
        starts = range(0, len(images), PIECE)
        pieces = (images.part(start, min(start + PIECE, len(images))) for start in starts)
        return [Part(share_of(piece)) for piece in pieces]

    def stored(self, name: str, kind: type[Figures]) -> Figures | None:
        """The entry in the first process's journal, None where it has none."""
        # All processes have to take the same branch, or they would wait for each other forever.
        return gathered(self.journal.find(name, kind))[0]

    def observed(self, share: ImageSet, sums: ActivationSums) -> Iterator[Prepared]:
        """Prepare images for the sweep, and add the rank point's outputs to `sums`."""

        def observe(engine: SweepEngine, batch: ImageBatch) -> tuple[Tensor, Prepared]:
            on_device = batch.to(self.device)
            output, prepared = engine.observe(whole_batch(on_device.pixels))
            return output[: len(on_device.labels)], Prepared(prepared, on_device.labels)

        for output, prepared in self.workers.map(observe, share.batches()):
            sums.add(output)
            yield prepared

    def rank(self, images: ImageSet) -> list[Part]:
        """The first pass: the activation of each piece. Prepared images are cached while they fit
        into CACHE_BYTES."""
        parts = self.parts(images)
        done = self.track("ranking channels", _images(parts))
        bytes_left = CACHE_BYTES
        for number, part in enumerate(parts):
            name, share = f"ranked-{number}", part.own
            activation, kept = self.stored(name, Activation), None
            if activation is None:
                sums = ActivationSums(batch_count(len(share)))
                with together():
                    kept = keep(
                        _with_progress(self.observed(share, sums), done), len(share), bytes_left
                    )
                activation = sums.total()
                # The tensor goes first: once the activation is there, a resumed run skips this
                # piece, and nothing would write the tensor any more.
                if kept is not None:
                    bytes_left -= kept.tensor.nbytes
                    self.journal.keep_tensor(part.name, kept.tensor)
                self.journal.keep(name, activation)
            else:
                done(len(share))
            parts[number] = replace(part, activation=activation, kept=kept)
        return parts

    def sweep(
        self, set_index: int, name: str, parts: Sequence[Part], order: Sequence[int]
    ) -> tuple[Tally, tuple[float, ...]]:
        """The second pass: the tally of a set, and its mean activation per channel.

        set_index: 0 for the clean validation set. name: shown with the progress.
        """
        done = self.track(f"sweeping {name}", _images(parts))
        pieces = []
        for number, part in enumerate(parts):
            key = f"swept-{set_index}-{number}"
            swept = self.stored(key, Swept)
            if swept is None:
                sums = ActivationSums(batch_count(len(part.own)))
                kept = part.kept or self.restored(part)
                batches = self.observed(part.own, sums) if kept is None else kept.batches()
                tally = total_tally(self.workers, batches, len(part.own), order, done)
                swept = Swept(tally, part.activation or sums.total())
                self.journal.keep(key, swept)
            else:
                done(len(part.own))
            pieces.append(swept)
        tallies = [swept.tally for swept in pieces]
        means = mean_activation([swept.activation for swept in pieces])
        return sum(tallies[1:], start=tallies[0]), means

    def restored(self, part: Part) -> Kept | None:
        """The prepared images of a ranked part from an interrupted run's journal, None where they
        are missing."""
        tensor = None if part.activation is None else self.journal.find_tensor(part.name)
        if tensor is None:
            return None
        return Kept(tensor.to(self.device), torch.from_numpy(part.own.labels).to(self.device))


def _images(parts: Sequence[Part]) -> int:
    return sum(len(part.own) for part in parts)


def _with_progress(batches: Iterable[Prepared], done: Callable[[int], None]) -> Iterator[Prepared]:
    for batch in batches:
        yield batch
        done(len(batch.labels))


def tally(
    workers: Workers,
    batches: Iterable[Prepared],
    images: int,
    order: Sequence[int],
    done: Callable[[int], None],
) -> Tally:
    """Count the answers to prepared images while the channels of `order` are masked one by one.

    images: the total number in `batches`. done: called with the number of images of each group.
    """

    def answers(engine: SweepEngine, group: Prepared) -> tuple[int, Tensor]:
        predictions = engine.predictions(group.tensor, order)[:, : len(group.labels)]
        return len(group.labels), count_answers(predictions, group.labels)

    sizes = group_sizes(images, workers.engine.group, workers.at_once)
    counts = torch.zeros((), dtype=torch.int64)  # broadcast to the shape of the first group's
    for images_done, group_counts in workers.map(answers, grouped(batches, sizes)):
        done(images_done)
        counts = group_counts + counts
    if not images:
        return Tally.empty(len(order))
    return Tally.of_counts(images, counts)


def total_tally(
    workers: Workers,
    batches: Iterable[Prepared],
    images: int,
    order: Sequence[int],
    done: Callable[[int], None],
) -> Tally:
    """`tally` of this process's batches, added up over all processes."""
    with together():
        own = tally(workers, batches, images, order, done)
    first, *others = gathered(own)
    return sum(others, start=first)


@exact_float32()
def channel_activation(
    model: Network,
    clean_valid: ImageSet,
    layer: str,
    rank_at: str,
    engine: MakeEngine = PlainEngine,
    track: Track = untracked,
) -> tuple[float, ...]:
    """Mean activation per channel of `layer`, measured at `rank_at`, as `sweep` ranks by it.

    Raises ValueError where the network has no such layer, or its channels cannot be ranked at
    `rank_at`; InputError where a mean is not finite.
    """
    _check_rank_point(model, layer, rank_at)
    with (
        torch.inference_mode(),
        workers(engine(model, layer, rank_at), model.device) as at_work,
    ):
        sweeper = _Sweeper(at_work, model.device, track, Forgetful())
        return _mean_activation(sweeper.rank(clean_valid), clean_valid)


def _mean_activation(parts: Sequence[Part], images: ImageSet) -> tuple[float, ...]:
    means = mean_activation([part.activation for part in parts if part.activation])
    if not all(map(math.isfinite, means)):
        raise InputError(images.path, "the model's activations on it are not finite")
    return means


def _check_rank_point(model: Network, layer: str, rank_at: str) -> None:
    points = rank_points(model.graph, layer)
    if rank_at not in points:
        raise ValueError(f"{layer} can be ranked at {' or '.join(points)}, not at {rank_at}")


@exact_float32()
def sweep(
    model: Network,
    clean_valid: ImageSet,
    measured: Sequence[ImageSet] = (),
    layer: str | None = None,
    rank_at: str | None = None,
    engine: MakeEngine = PlainEngine,
    track: Track = untracked,
    journal: Journal | None = None,
    scores: Sequence[float] | None = None,
    direction: Direction = "ascending",
) -> Sweep:
    """Rank the channels of `layer` on the clean validation set and mask them one by one.

    measured: further sets to evaluate at every step. No decision depends on them. In the result's
    tallies they follow the clean validation set. layer, rank_at: None chooses the network's
    defaults. engine: computes the predictions; all engines give identical results. journal: entries
    of an interrupted run of the same sweep, which are not computed again. scores: per channel, to
    rank by instead of mean activation. direction: "ascending" prunes the lowest score first, as
    the published defence does.

    Raises InputError where the network has no such layer, its channels cannot be ranked at
    `rank_at`, the sweep would cost too much (see network/budget.py), or a mean is not finite.

    >>> images = ytf_torch.open_images(Path("valid.h5"), network.input_shape, network.classes)
    >>> swept = sweep(network, images)
    >>> swept.order
    (4, 5, 1, 0, 2, 3)
    >>> swept.tallies[0].correct
    (24, 16, 17, 14, 12, 5, 1)
    """
    layer, rank_at = pruned_at(model.graph, layer, rank_at)
    check_swept("the network", model.graph, layer)
    with (
        torch.inference_mode(),
        workers(engine(model, layer, rank_at), model.device) as at_work,
    ):
        sweeper = _Sweeper(at_work, model.device, track, journal or Forgetful())
        parts = sweeper.rank(clean_valid)
        means = _mean_activation(parts, clean_valid)
        order = pruning_order(means if scores is None else scores, direction)
        of_valid, _ = sweeper.sweep(0, clean_valid.path.name, parts, order)
        del parts  # frees the cached images before the other sets are swept
        others = [
            sweeper.sweep(set_index, images.path.name, sweeper.parts(images), order)
            for set_index, images in enumerate(measured, start=1)
        ]
    tallies, activations = [tally for tally, _ in others], [means for _, means in others]
    return Sweep(layer, rank_at, means, order, (of_valid, *tallies), tuple(activations), direction)
