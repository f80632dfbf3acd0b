"""The pruning defence on a model and its face sets: baseline, sweep, and the step of each drop."""

from __future__ import annotations

import copy
import re
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import torch

from ytf_torch.distributed import gathered, share_of, together
from ytf_torch.errors import InputError
from ytf_torch.faces.face_set import FaceSet
from ytf_torch.metrics import Tally, percentage
from ytf_torch.network.checkpoint import Checkpoint
from ytf_torch.network.deepid import DeepID
from ytf_torch.network.masking import bake_mask
from ytf_torch.sweep.drop import first_step_of_drop
from ytf_torch.sweep.fast import fast_engine
from ytf_torch.sweep.journal import Journal
from ytf_torch.sweep.passes import MakeEngine, PlainEngine, Sweep, Track, sweep, untracked

ENGINES: dict[str, MakeEngine] = {"fast": fast_engine, "plain": PlainEngine}
COMMON_PIXEL_SCALES = {"1": 1.0, "1/255": 1 / 255}
DOUBTFUL_ACCURACY = 50.0
TELLING_GAIN = 30.0


@dataclass(frozen=True)
class FaceSets:
    """What the defence is run on: only the clean validation set decides anything."""

    clean_valid: FaceSet
    clean_test: FaceSet | None = None
    poisoned_tests: tuple[FaceSet, ...] = ()

    @property
    def measured(self) -> tuple[FaceSet, ...]:
        """The sets that are evaluated at every step and never used to choose."""
        return (*((self.clean_test,) if self.clean_test else ()), *self.poisoned_tests)


@dataclass(frozen=True)
class Defence:
    """The outcome of the pruning defence.

    drops: requested drop in points, as written → number of channels pruned at the first step
    that reaches it, or None. poisoned_test: all poisoned sets together; each alone is in
    poisoned_tests.
    """

    sweep: Sweep
    clean_valid: Tally
    clean_test: Tally | None
    poisoned_tests: tuple[Tally, ...]
    drops: dict[str, int | None]

    @property
    def poisoned_test(self) -> Tally | None:
        """All poisoned sets together."""
        if not self.poisoned_tests:
            return None
        first, *others = self.poisoned_tests
        return sum(others, start=first)

    def channels_of(self, drop: str) -> tuple[int, ...]:
        """The channels pruned for a drop, in the order they were pruned; empty if not reached."""
        return self.sweep.order[: self.drops[drop] or 0]


def parse_drop(text: str) -> Fraction:
    """A drop in percentage points such as "2" or "2.5", exactly.

    Raises InputError for anything but a decimal number above 0 and up to 100.
    """
    drop = Fraction(text if re.fullmatch(r"[0-9]{1,3}([.][0-9]{1,9})?", text) else 0)
    if not 0 < drop <= 100:
        raise InputError(
            "--drops", f"expected percentage points above 0, such as 2,4,10; found {text}"
        )
    return drop


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
    _check_pixel_scale_by_accuracy(model, sets.clean_valid, clean_valid)
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


def _check_pixel_scale_by_accuracy(model: DeepID, clean_valid: FaceSet, baseline: Tally) -> None:
    accuracy = baseline.rate(baseline.correct, 0)
    if accuracy >= DOUBTFUL_ACCURACY:
        return
    for name, scale in COMMON_PIXEL_SCALES.items():
        rescaled = copy.copy(model)
        rescaled.pixel_scale = scale
        other = clean_accuracy(rescaled, clean_valid)
        if other >= accuracy + TELLING_GAIN:
            raise InputError(
                clean_valid.path,
                f"clean accuracy is {accuracy:.1f} % with the model's pixel scale "
                f"{model.pixel_scale:g}, and {other:.1f} % with {name}",
                f"Convert the model again with --pixel-scale {name}",
            )


def clean_accuracy(model: DeepID, faces: FaceSet) -> float:
    """Share of faces that get their label, in percent."""
    correct = 0
    with torch.inference_mode(), together():
        for batch in share_of(faces).batches():
            placed = batch.to(model.device)
            correct += int((model(placed.pixels).argmax(1) == placed.labels).sum())
    return percentage(sum(gathered(correct)), len(faces))


def pruned_checkpoint(
    checkpoint: Checkpoint, layer: str, rank_at: str, channels: Sequence[int]
) -> Checkpoint:
    """B′: a copy with the mask baked into `layer`'s weights and recorded in the provenance."""
    return Checkpoint(
        bake_mask(checkpoint.model, layer, channels),
        checkpoint.provenance.masked(layer, rank_at, tuple(channels)),
    )
