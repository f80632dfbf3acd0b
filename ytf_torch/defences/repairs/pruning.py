"""The pruning defence on a model and its face sets: baseline, sweep, and the step of each drop."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction

from ytf_torch.defences.base import Candidate, Ranking
from ytf_torch.defences.baseline import check_pixel_scale_by_accuracy
from ytf_torch.defences.outcome import Defence
from ytf_torch.errors import CannotRepairError, InputError
from ytf_torch.images.image_set import ImageSet, ImageSets
from ytf_torch.metrics import Tally
from ytf_torch.network.checkpoint import Checkpoint
from ytf_torch.network.masking import bake_mask
from ytf_torch.network.module import Network
from ytf_torch.network.pruned_layer import pruned_at
from ytf_torch.network.subject import subject_of
from ytf_torch.network.usable import check_tells_apart
from ytf_torch.progress import Track, untracked
from ytf_torch.sweep.drop import Drop, first_step_of_drop, parse_drops
from ytf_torch.sweep.engine import MakeEngine
from ytf_torch.sweep.fast import fast_engine
from ytf_torch.sweep.journal import Journal
from ytf_torch.sweep.order import Direction
from ytf_torch.sweep.passes import sweep
from ytf_torch.sweep.plain import PlainEngine

ENGINES: dict[str, MakeEngine] = {"fast": fast_engine, "plain": PlainEngine}


class Pruning:
    """Prunes the channels that rank lowest on clean faces, up to the first step that costs a drop.

    One candidate for each drop that some step reaches, mildest first. drops: points of clean
    validation accuracy to give up. ranking: says which channels go first; by default mean
    activation at the layer's pool, which costs no pass of its own.

    Source: Liu, Dolan-Gavitt and Garg, "Fine-Pruning" (RAID 2018), the pruning half of it.
    """

    def __init__(
        self,
        drops: Sequence[Drop] = (2, 4, 10),
        layer: str | None = None,
        ranking: Ranking | None = None,
    ) -> None:
        self.drops, self.layer, self.ranking = drops, layer, ranking

    def candidates(
        self, network: Network, clean_valid: ImageSet, track: Track
    ) -> Iterator[Candidate]:
        """See Repair. Raises InputError for a drop that is no number of points, and
        CannotRepairError where the network has no such layer, or no weights silence it."""
        wanted = parse_drops(self.drops)
        try:
            layer, rank_at = pruned_at(network.graph, self.layer, None)
            bake_mask(network, layer, ())  # refused here rather than behind a sweep
        except CannotRepairError:
            raise
        except (InputError, ValueError) as error:
            remedy = "Choose a method that does not prune"
            raise CannotRepairError("the network", str(error), remedy) from error
        scores = None
        if self.ranking is not None:
            scores = self.ranking.scores(network, layer, clean_valid, track)
        swept = sweep(network, clean_valid, (), layer, rank_at, fast_engine, track, scores=scores)
        reached = reached_steps(swept.tallies[0], wanted)
        for drop in sorted(wanted, key=lambda name: wanted[name]):
            step = reached[drop]
            if step is not None:
                pruned = bake_mask(network, layer, swept.order[:step])
                done = f"pruned {step} of {len(swept.order)} channels of {layer}"
                yield Candidate(f"drop{drop}", pruned, (f"{done}, at a drop of {drop} points",))


def reached_steps(clean_valid: Tally, drops: Mapping[str, Fraction]) -> dict[str, int | None]:
    """For each drop the first step that costs it on the clean validation faces, or None."""
    return {
        name: first_step_of_drop(clean_valid.correct, clean_valid.images, drop)
        for name, drop in drops.items()
    }


def run_defence(
    checkpoint: Checkpoint,
    sets: ImageSets,
    drops: Sequence[Drop],
    layer: str | None = None,
    rank_at: str | None = None,
    engine: str = "fast",
    track: Track = untracked,
    journal: Journal | None = None,
    order: Direction = "ascending",
) -> Defence:
    """Sweep the layer and find the step of each drop.

    drops: points of clean validation accuracy to give up, such as 2 or "2.5". engine: "fast" or
    "plain"; both give the same figures. journal: see sweep.
    order: ascending prunes the least active channels first, as published; descending the most.

    Raises InputError where the network has no answers to look at, see check_tells_apart, and where
    the clean validation set is recognised far better with another of
    the usual pixel scales: then the model was converted with a wrong one.

    >>> valid = ytf_torch.open_images(Path("valid.h5"), network.input_shape, network.classes)
    >>> run_defence(checkpoint, ImageSets(valid), drops=(40,)).drops
    {'40': 3}
    """
    wanted = parse_drops(drops)
    model = checkpoint.model
    check_tells_apart(model, checkpoint.provenance.source_file)
    swept = sweep(
        model,
        sets.clean_valid,
        sets.measured,
        layer,
        rank_at,
        ENGINES[engine],
        track,
        journal,
        direction=order,
    )
    clean_valid, *measured = swept.tallies
    check_pixel_scale_by_accuracy(model, sets.clean_valid, clean_valid)
    return Defence(
        sweep=swept,
        clean_valid=clean_valid,
        clean_test=measured.pop(0) if sets.clean_test else None,
        poisoned_tests=tuple(measured),
        drops=reached_steps(clean_valid, wanted),
        subject=subject_of(model.graph),
    )


def pruned_checkpoint(
    checkpoint: Checkpoint, layer: str, rank_at: str, channels: Sequence[int]
) -> Checkpoint:
    """B′: a copy with the mask baked into `layer`'s weights and recorded in the provenance.

    >>> pruned_checkpoint(checkpoint, "conv_3", "pool_3", [2, 4]).provenance.mask
    BakedMask(layer='conv_3', rank_at='pool_3', channels=(2, 4))
    """
    return Checkpoint(
        bake_mask(checkpoint.model, layer, channels),
        checkpoint.provenance.masked(layer, rank_at, tuple(channels)),
    )
