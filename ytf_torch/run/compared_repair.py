"""One repair of a comparison: what it is made of, and its record."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass

from ytf_torch.defences.base import Ranking, Repair
from ytf_torch.defences.names import name_of_method
from ytf_torch.defences.repairing import repair_and_measure
from ytf_torch.errors import CannotRepairError, InputError, OutputError, is_out_of_memory
from ytf_torch.images.image_set import ImageSets
from ytf_torch.network.checkpoint import Checkpoint
from ytf_torch.progress import Track, branch, titled
from ytf_torch.report.compare.comparison import Record, failed_record
from ytf_torch.report.repair.repair_record import repair_record

OUT_OF_MEMORY = "there is not enough memory for this"


@dataclass(frozen=True)
class Cell:
    """One repair of a comparison.

    name: what its record is stored under. detectors: names of those that are measured with its B′.
    on_control: whether the clean control is repaired, rather than B.
    """

    name: str
    method: str | Repair | Ranking
    seed: int
    detectors: tuple[str, ...] = ()
    on_control: bool = False

    @property
    def title(self) -> str:
        """What progress bars and errors call it."""
        network = " on the clean control" if self.on_control else ""
        return f"{name_of_method(self.method)}{network}, seed {self.seed}"


@dataclass(frozen=True)
class Subjects:
    """What a comparison repairs, and the image sets. control: a network without a backdoor."""

    badnet: Checkpoint
    control: Checkpoint | None
    sets: ImageSets

    def record_of(self, cell: Cell, track: Track) -> Record:
        """Make a repair; returns its record, or one that says why it cannot be made.

        Raises any error that is not about this repair alone, see why_no_repair.
        """
        checkpoint, sets = self.badnet, self.sets
        if cell.on_control:
            assert self.control is not None
            # Triggered images say nothing about a network without a backdoor.
            checkpoint, sets = self.control, ImageSets(sets.clean_valid, sets.clean_test)
        try:
            outcome = repair_and_measure(
                checkpoint.model, sets, cell.method, cell.seed, cell.detectors, track
            )
        except Exception as error:
            reason = why_no_repair(error, sets)
            if reason is None:
                raise
            return failed_record(name_of_method(cell.method), cell.seed, reason)
        return repair_record(outcome, checkpoint.provenance)


def why_no_repair(error: Exception, sets: ImageSets) -> str | None:
    """Why a repair cannot be made; None where the error is not the repair's: a file that cannot be
    read or written, which would be the end of all others too, or a fault of ours."""
    if is_out_of_memory(error):
        return OUT_OF_MEMORY
    if isinstance(error, InputError) and not isinstance(error, OutputError):
        where, problem, _ = error.args
        files = tuple(str(faces.path) for faces in sets.every)
        if isinstance(error, CannotRepairError) or not where.startswith(files):
            return InputError(where, problem).line()
    return None


def one_after_another(
    next_cell: Callable[[], Cell | None], subjects: Subjects, track: Track
) -> Generator[tuple[Cell, Record], None, None]:
    """Make repairs in this process, until `next_cell` returns None; yields each with its record."""
    while (cell := next_cell()) is not None:
        with branch(track) as own_track:
            record = subjects.record_of(cell, titled(own_track, cell.title))
        yield cell, record
