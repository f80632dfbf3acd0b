"""The pruning sweep: every step's predictions, one batch of faces at a time.

What is ranked, masked and measured is here; how the predictions are computed is an engine.
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

# What the prepared images of the ranked set may take in memory; those beyond are prepared again
# for the sweep.
CACHE_BYTES = 256 * 2**20
# Images after which figures go into the journal; where pieces begin must not depend on anything.
PIECE = 8192


@dataclass(frozen=True)
class Sweep:
    """A whole sweep of one layer.

    layer: the masked convolution. rank_at: where its channels were ranked.
    mean_activation: by channel, over the clean validation set. order: channels as pruned.
    tallies: one for each face set, in the order given. measured_activation: the same means as
    mean_activation, over each of the sets that were only measured. direction: ascending where the
    channels that rank lowest went first.
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
    """This process's share of a piece of a face set, and what ranking has left of it.

    activation: of the whole piece; None in the sets that are only measured. kept: the share,
    prepared.
    """

    own: ImageSet
    activation: Activation | None = None
    kept: Kept | None = None

    @property
    def name(self) -> str:
        """What the prepared images of a ranked part are kept under in the journal."""
        return f"ranked-images-{self.own.first}-{len(self.own)}"


class _Sweeper:
    """The two passes of a sweep, piece by piece; figures are those of all processes together."""

    def __init__(
        self, workers: Workers, device: torch.device, track: Track, journal: Journal
    ) -> None:
        self.workers, self.device, self.track, self.journal = workers, device, track, journal

    def parts(self, faces: ImageSet) -> list[Part]:
        """A set's pieces, of each this process's share."""
        starts = range(0, len(faces), PIECE)
        pieces = (faces.part(start, min(start + PIECE, len(faces))) for start in starts)
        return [Part(share_of(piece)) for piece in pieces]

    def known(self, name: str, kind: type[Figures]) -> Figures | None:
        """What the first process's journal has."""
        return gathered(self.journal.find(name, kind))[0]

    def observed(self, own: ImageSet, sums: ActivationSums) -> Iterator[Prepared]:
        """Prepare images for the sweep, and add what the rank point gives to `sums`."""

        def observe(engine: SweepEngine, batch: ImageBatch) -> tuple[Tensor, Prepared]:
            placed = batch.to(self.device)
            output, prepared = engine.observe(whole_batch(placed.pixels))
            return output[: len(placed.labels)], Prepared(prepared, placed.labels)

        for output, prepared in self.workers.map(observe, own.batches()):
            sums.add(output)
            yield prepared

    def rank(self, faces: ImageSet) -> list[Part]:
        """The first pass: the activation of each piece. Prepared images are kept while they fit
        into CACHE_BYTES."""
        parts = self.parts(faces)
        done = self.track("ranking channels", _images(parts))
        room = CACHE_BYTES
        for number, part in enumerate(parts):
            name, own = f"ranked-{number}", part.own
            activation, kept = self.known(name, Activation), None
            if activation is None:
                sums = ActivationSums(batch_count(len(own)))
                with together():
                    kept = keep(_told(self.observed(own, sums), done), len(own), room)
                activation = sums.total()
                if kept is not None:
                    room -= kept.tensor.nbytes
                    self.journal.keep_tensor(part.name, kept.tensor)
                self.journal.keep(name, activation)
            else:
                done(len(own))
            parts[number] = replace(part, activation=activation, kept=kept)
        return parts

    def sweep(
        self, place: int, name: str, parts: Sequence[Part], order: Sequence[int]
    ) -> tuple[Tally, tuple[float, ...]]:
        """The second pass: the tally of a set, and its mean activation.

        place: of the set among all. name: what it is called where progress is shown.
        """
        done = self.track(f"sweeping {name}", _images(parts))
        pieces = []
        for number, part in enumerate(parts):
            entry = f"swept-{place}-{number}"
            swept = self.known(entry, Swept)
            if swept is None:
                sums = ActivationSums(batch_count(len(part.own)))
                kept = part.kept or self.kept_before(part)
                batches = self.observed(part.own, sums) if kept is None else kept.batches()
                tally = total_tally(self.workers, batches, len(part.own), order, done)
                swept = Swept(tally, part.activation or sums.total())
                self.journal.keep(entry, swept)
            else:
                done(len(part.own))
            pieces.append(swept)
        tallies = [swept.tally for swept in pieces]
        means = mean_activation([swept.activation for swept in pieces])
        return sum(tallies[1:], start=tallies[0]), means

    def kept_before(self, part: Part) -> Kept | None:
        """A ranked part's images as an interrupted run prepared them."""
        tensor = None if part.activation is None else self.journal.find_tensor(part.name)
        if tensor is None:
            return None
        return Kept(tensor.to(self.device), torch.from_numpy(part.own.labels).to(self.device))


def _images(parts: Sequence[Part]) -> int:
    return sum(len(part.own) for part in parts)


def _told(batches: Iterable[Prepared], done: Callable[[int], None]) -> Iterator[Prepared]:
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
    """How so many prepared images fare while the channels of `order` are masked one by one."""

    def answers(engine: SweepEngine, group: Prepared) -> tuple[int, Tensor]:
        predictions = engine.predictions(group.tensor, order)[:, : len(group.labels)]
        return len(group.labels), count_answers(predictions, group.labels)

    sizes = group_sizes(images, workers.engine.group, workers.at_once)
    counts = torch.zeros((), dtype=torch.int64)
    for more, of_more in workers.map(answers, grouped(batches, sizes)):
        done(more)
        counts = of_more + counts
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
    """The tallies of all processes together, each of its own batches."""
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
    """Mean activation by channel of `layer` at `rank_at`, as a sweep ranks by it.

    Raises ValueError as `sweep` does, and InputError where a mean is not finite.
    """
    _check_rank_point(model, layer, rank_at)
    with (
        torch.inference_mode(),
        workers(engine(model, layer, rank_at), model.device) as at_work,
    ):
        sweeper = _Sweeper(at_work, model.device, track, Forgetful())
        return _mean_activation(sweeper.rank(clean_valid), clean_valid)


def _mean_activation(parts: Sequence[Part], faces: ImageSet) -> tuple[float, ...]:
    means = mean_activation([part.activation for part in parts if part.activation])
    if not all(map(math.isfinite, means)):
        raise InputError(faces.path, "the model's activations on it are not finite")
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

    measured: further sets to evaluate at every step; nothing is ever chosen by them. The first
    tally of the result is the clean validation set's, theirs follow. engine: how predictions are
    computed; every engine gives the same figures. journal: what it holds of the same sweep is not
    computed again. scores: by channel, of another ranking than mean activation. direction: whether
    channels go from the lowest to the highest, as the published defence prunes, or the other way.
    Raises ValueError where the network has no such layer, and where `rank_at` is not a place where
    its channels can be ranked.

    >>> faces = ytf_torch.open_images(Path("valid.h5"), network.input_shape, network.classes)
    >>> swept = sweep(network, faces)
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
        del parts
        others = [
            sweeper.sweep(place, faces.path.name, sweeper.parts(faces), order)
            for place, faces in enumerate(measured, start=1)
        ]
    tallies, activations = [tally for tally, _ in others], [means for _, means in others]
    return Sweep(layer, rank_at, means, order, (of_valid, *tallies), tuple(activations), direction)
