"""The pruning defence on a model and its face sets: baseline, sweep, and the step of each drop."""

from __future__ import annotations

from collections.abc import Sequence

from ytf_torch.defences.baseline import check_pixel_scale_by_accuracy
from ytf_torch.defences.outcome import Defence
from ytf_torch.faces.face_set import FaceSets
from ytf_torch.network.checkpoint import Checkpoint
from ytf_torch.network.masking import bake_mask
from ytf_torch.progress import Track, untracked
from ytf_torch.sweep.drop import first_step_of_drop, parse_drop
from ytf_torch.sweep.engine import MakeEngine
from ytf_torch.sweep.fast import fast_engine
from ytf_torch.sweep.journal import Journal
from ytf_torch.sweep.passes import sweep
from ytf_torch.sweep.plain import PlainEngine

ENGINES: dict[str, MakeEngine] = {"fast": fast_engine, "plain": PlainEngine}


def run_defence(
    checkpoint: Checkpoint,
    sets: FaceSets,
    drops: Sequence[str],
    layer: str = "conv_3",
    rank_at: str = "pool_3",
    engine: str = "fast",
    track: Track = untracked,
    journal: Journal | None = None,
) -> Defence:
    """Sweep the layer and find the step of each drop.

    engine: "fast" or "plain"; both give the same figures. journal: see sweep.

    Raises InputError where the clean validation set is recognised far better with another of
    the usual pixel scales: then the model was converted with a wrong one.
    """
    wanted = {drop: parse_drop(drop) for drop in drops}
    model = checkpoint.model
    swept = sweep(
        model, sets.clean_valid, sets.measured, layer, rank_at, ENGINES[engine], track, journal
    )
    clean_valid, *measured = swept.tallies
    check_pixel_scale_by_accuracy(model, sets.clean_valid, clean_valid)
    return Defence(
        sweep=swept,
        clean_valid=clean_valid,
        clean_test=measured.pop(0) if sets.clean_test else None,
        poisoned_tests=tuple(measured),
        drops={
            name: first_step_of_drop(clean_valid.correct, clean_valid.images, drop)
            for name, drop in wanted.items()
        },
    )


def pruned_checkpoint(
    checkpoint: Checkpoint, layer: str, rank_at: str, channels: Sequence[int]
) -> Checkpoint:
    """B′: a copy with the mask baked into `layer`'s weights and recorded in the provenance."""
    return Checkpoint(
        bake_mask(checkpoint.model, layer, channels),
        checkpoint.provenance.masked(layer, rank_at, tuple(channels)),
    )
