"""Everything a run's results depend on, as JSON.

The processes of a distributed run compare it with each other, and a resumed run compares it with
the interrupted run's.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch

from ytf_torch.errors import InputError
from ytf_torch.images.image_set import ImageSet, ImageSets
from ytf_torch.network.checkpoint import Checkpoint
from ytf_torch.network.provenance import tool_version
from ytf_torch.run.audit_settings import AuditSettings
from ytf_torch.run.repair_settings import CompareSettings
from ytf_torch.run.settings import PruneSettings

# The settings that can change a result. The output folder and the device are not among them.
DECISIVE = {"drops", "layer", "rank_at", "order", "engine", "precision"}

# The keys by which the file of an image set is identified.
FILE_FACTS = {"path", "bytes", "modified"}

CHANGED = "was replaced or changed while the run was reading it"
LEAVE_IT = "Leave it as it is until the run has ended, and run it again"


def fingerprint(checkpoint: Checkpoint, sets: ImageSets, settings: PruneSettings) -> dict[str, Any]:
    """Everything that must be equal on all processes of a run, as JSON; paths may differ."""
    return {
        **_network_and_labels(checkpoint, sets),
        **settings.model_dump(mode="json", include=DECISIVE),
    }


def inputs_record(
    checkpoint: Checkpoint, sets: ImageSets, settings: PruneSettings, device: torch.device
) -> dict[str, Any]:
    """Everything that must be equal for a run to be resumed, as JSON.

    An image set counts as equal if its labels, path, size and modification time are: reading all
    its pixels for a checksum would take as long as the run. Raises InputError where the file of an
    image set is missing.
    """
    return {
        **_environment(device),
        **_files(sets),
        **fingerprint(checkpoint, sets, settings),
        **({"keras": True} if settings.keras else {}),
        **({"pdf": True} if settings.pdf else {}),
    }


def comparison_record(
    checkpoint: Checkpoint,
    sets: ImageSets,
    settings: CompareSettings,
    control: Checkpoint | None,
    device: torch.device,
) -> dict[str, Any]:
    """As `inputs_record`, for a comparison. control: a clean network that is repaired as well."""
    return {
        **_environment(device),
        **_files(sets),
        **_network_and_labels(checkpoint, sets),
        "clean_control": None if control is None else _weights_digest(control),
        "methods": list(settings.names),
        "seeds": settings.seeds,
        **_relearning(settings),
    }


def _relearning(settings: CompareSettings) -> dict[str, Any]:
    """What a measurement of relearning depends on besides; nothing where there is none."""
    if not settings.relearning:
        return {}
    triggered = [
        _file_facts(images) if isinstance(images, Path) else _identity(images)
        for images in settings.poisoned_valid
    ]
    return {"relearning": True, "poisoned_valid": triggered}


def audit_inputs(
    checkpoint: Checkpoint, sets: ImageSets, settings: AuditSettings, device: torch.device
) -> dict[str, Any]:
    """As `inputs_record`, for an audit."""
    return {
        **_environment(device),
        **_files(sets),
        **_network_and_labels(checkpoint, sets),
        "scans": list(settings.scans),
    }


def sets_record(sets: ImageSets) -> dict[str, Any]:
    """The part of a run's inputs that `check_unchanged` reads: the files of image sets. Sets in
    memory have none."""
    files: list[dict[str, Any]] = []
    for images in sets.every:
        if images.file is not None:
            with suppress(InputError):
                files.append(_file_facts(images.file))
    return {"faces": files}


def check_unchanged(inputs: Mapping[str, Any]) -> None:
    """Raises InputError where the size or modification time of an image set's file has changed
    since the run began: results could then come from either version."""
    for files in inputs.values():
        for recorded in files if isinstance(files, list) else ():
            if isinstance(recorded, dict) and recorded.keys() == FILE_FACTS:
                path = Path(recorded["path"])
                if _file_facts(path) != recorded:
                    raise InputError(path, CHANGED, LEAVE_IT)


def check_same(
    inputs: Mapping[str, Any], found: Mapping[str, Any], model: Path, clean_control: Path | None
) -> None:
    """Raises InputError where another process of a comparison has found other inputs.

    inputs, found: see comparison_record. model, clean_control: the files of the networks.
    """
    check_unchanged(inputs)
    networks = {"model": model, "weights": model, "clean_control": clean_control}
    found = json.loads(json.dumps(found))  # tuples become lists, as in `inputs`
    different = [key for key in inputs if found.get(key) != inputs[key]]
    if different:
        # Image sets and settings are the same, so what is left is an installation.
        changed = networks.get(different[0], "an installed package")
        raise InputError(changed, CHANGED, LEAVE_IT)


def _network_and_labels(checkpoint: Checkpoint, sets: ImageSets) -> dict[str, Any]:
    return {
        "model": checkpoint.provenance.record,
        "weights": _weights_digest(checkpoint),
        "labels": [_digest(images) for images in sets.every],
    }


def _environment(device: torch.device) -> dict[str, Any]:
    return {"ytf-torch": tool_version(), "PyTorch": torch.__version__, "device": device.type}


def _files(sets: ImageSets) -> dict[str, Any]:
    files = {
        "clean_valid": [sets.clean_valid],
        "clean_test": [sets.clean_test] if sets.clean_test else [],
        "poisoned_test": list(sets.poisoned_tests),
    }
    return {
        name: [_identity(image_set) for image_set in image_sets]
        for name, image_sets in files.items()
    }


def _identity(images: ImageSet) -> dict[str, Any]:
    """The identity of an image set: its file's state, or a SHA-256 of pixels that are in memory."""
    if images.file is not None:
        return _file_facts(images.file)
    pixels = sha256()
    for batch in images.batches():
        pixels.update(batch.pixels.contiguous().numpy().tobytes())
    return {"memory": pixels.hexdigest()}


def _weights_digest(checkpoint: Checkpoint) -> str:
    weights = sha256()
    for name, tensor in sorted(checkpoint.model.state_dict().items()):
        weights.update(name.encode() + tensor.cpu().numpy().tobytes())
    return weights.hexdigest()


def _file_facts(path: Path) -> dict[str, Any]:
    """The current FILE_FACTS of a file, or of a folder with all files below it."""
    try:
        status = path.stat()
        size, modified = status.st_size, status.st_mtime_ns
        if path.is_dir():
            size, modified = _folder_facts(path)
    except OSError as error:
        raise InputError(path, f"cannot be read ({error.strerror})") from error
    return {"path": str(path.absolute()), "bytes": size, "modified": modified}


def _folder_facts(folder: Path) -> tuple[int, int]:
    """The total bytes of all files below a folder, and a 48-bit hash of their names, sizes and
    modification times, in place of one modification time."""
    size, digest = 0, sha256()
    for parent, folders, names in os.walk(folder):
        folders.sort()  # in place, which sets os.walk's order; the file system's may vary
        for name in sorted(names):
            status = os.lstat(Path(parent) / name)
            size += status.st_size
            digest.update(f"{parent}/{name} {status.st_size} {status.st_mtime_ns}\n".encode())
    return size, int.from_bytes(digest.digest()[:6], "big")


def _digest(images: ImageSet) -> str:
    return sha256(images.labels.tobytes()).hexdigest()
