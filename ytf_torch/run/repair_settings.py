"""What decides a repair, checked before anything heavy is loaded."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ytf_torch.defences.names import RECOMMENDED_REPAIR, REPAIRS
from ytf_torch.disk.reading import checked_file
from ytf_torch.disk.writing import check_outside, check_run_folder_is_free
from ytf_torch.errors import mismatch

MODEL_FILE = "repaired.safetensors"


@dataclass(frozen=True)
class RepairSettings:
    """Everything that decides a repair.

    method: a name of REPAIRS. seed: equal ones give equal networks. pixel_scale: for a Keras file,
    which does not tell it.
    """

    model: Path
    clean_valid: Path
    out: Path
    clean_test: Path | None = None
    poisoned_test: tuple[Path, ...] = ()
    method: str = RECOMMENDED_REPAIR
    seed: int = 0
    device: str = "auto"
    pixel_scale: float | None = None

    @property
    def files(self) -> tuple[Path, ...]:
        """Every file that is read."""
        clean_test = () if self.clean_test is None else (self.clean_test,)
        return (self.model, self.clean_valid, *clean_test, *self.poisoned_test)


def check_settings(settings: RepairSettings) -> None:
    """Raises InputError where the method is not known, a file cannot be read, or OUT is taken."""
    if settings.method not in REPAIRS:
        raise mismatch("method", f"one of {', '.join(REPAIRS)}", settings.method)
    for file in settings.files:
        checked_file(file)
    check_run_folder_is_free(settings.out)
    check_outside(settings.out, settings.files)
