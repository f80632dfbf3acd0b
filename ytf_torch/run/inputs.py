"""What a run's figures depend on, as JSON.

Processes that share a run compare it, and so does a run that goes on where one was cut off.
"""

from __future__ import annotations

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

# The settings that can change a figure. Where results go, and the device, are not among them.
DECISIVE = {"drops", "layer", "rank_at", "order", "engine", "precision"}

# By which a face set's file is known again.
FILE_FACTS = {"path", "bytes", "modified"}


def fingerprint(checkpoint: Checkpoint, sets: ImageSets, settings: PruneSettings) -> dict[str, Any]:
    """What has to be the same on all processes of a run, wherever their files lie. As JSON."""
    return {
        **_network_and_labels(checkpoint, sets),
        **settings.model_dump(mode="json", include=DECISIVE),
    }


def inputs_record(
    checkpoint: Checkpoint, sets: ImageSets, settings: PruneSettings, device: torch.device
) -> dict[str, Any]:
    """What has to be the same for a run to go on where it was cut off. As JSON.

    A face set is taken to be the same if its labels, path, size and time of change are: reading
    all its pixels for a checksum would take as long as the run. Raises InputError where a face
    set's file is gone.
    """
    return {
        **_surroundings(device),
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
    """The same of a comparison. As JSON. Raises InputError where a face set's file is gone."""
    return {
        **_surroundings(device),
        **_files(sets),
        **_network_and_labels(checkpoint, sets),
        "clean_control": None if control is None else _weights_digest(control),
        "methods": list(settings.names),
        "seeds": settings.seeds,
    }


def audit_inputs(
    checkpoint: Checkpoint, sets: ImageSets, settings: AuditSettings, device: torch.device
) -> dict[str, Any]:
    """The same of an audit. As JSON. Raises InputError where a face set's file is gone."""
    return {
        **_surroundings(device),
        **_files(sets),
        **_network_and_labels(checkpoint, sets),
        "scans": list(settings.scans),
    }


def sets_record(sets: ImageSets) -> dict[str, Any]:
    """The part of a run's inputs that `check_unchanged` looks at; sets in memory have none."""
    files: list[dict[str, Any]] = []
    for images in sets.every:
        if images.file is not None:
            with suppress(InputError):
                files.append(_state(images.file))
    return {"faces": files}


def check_unchanged(inputs: Mapping[str, Any]) -> None:
    """Raises InputError where the file of a face set is another than when the run began, by size
    and time of change: then nobody knows which of the two a figure is of."""
    for files in inputs.values():
        for before in files if isinstance(files, list) else ():
            if isinstance(before, dict) and before.keys() == FILE_FACTS:
                path = Path(before["path"])
                if _state(path) != before:
                    problem = "was replaced or changed while the run was reading it"
                    remedy = "Leave it as it is until the run has ended, and run it again"
                    raise InputError(path, problem, remedy)


def _network_and_labels(checkpoint: Checkpoint, sets: ImageSets) -> dict[str, Any]:
    return {
        "model": checkpoint.provenance.record,
        "weights": _weights_digest(checkpoint),
        "labels": [_digest(faces) for faces in sets.every],
    }


def _surroundings(device: torch.device) -> dict[str, Any]:
    return {"ytf-torch": tool_version(), "PyTorch": torch.__version__, "device": device.type}


def _files(sets: ImageSets) -> dict[str, Any]:
    files = {
        "clean_valid": [sets.clean_valid],
        "clean_test": [sets.clean_test] if sets.clean_test else [],
        "poisoned_test": list(sets.poisoned_tests),
    }
    return {name: [_identity(faces) for faces in found] for name, found in files.items()}


def _identity(faces: ImageSet) -> dict[str, Any]:
    """By what a face set is known again: its file, or its pixels where they are in memory."""
    if faces.file is not None:
        return _state(faces.file)
    pixels = sha256()
    for batch in faces.batches():
        pixels.update(batch.pixels.contiguous().numpy().tobytes())
    return {"memory": pixels.hexdigest()}


def _weights_digest(checkpoint: Checkpoint) -> str:
    weights = sha256()
    for name, tensor in sorted(checkpoint.model.state_dict().items()):
        weights.update(name.encode() + tensor.cpu().numpy().tobytes())
    return weights.hexdigest()


def _state(path: Path) -> dict[str, Any]:
    """A file as it is now, or a folder by all files below it: FILE_FACTS."""
    try:
        status = path.stat()
        size, modified = status.st_size, status.st_mtime_ns
        if path.is_dir():
            size, modified = _folder_state(path)
    except OSError as error:
        raise InputError(path, f"cannot be read ({error.strerror})") from error
    return {"path": str(path.absolute()), "bytes": size, "modified": modified}


def _folder_state(folder: Path) -> tuple[int, int]:
    """Bytes of all files below a folder, and a number that another name, size or time of change of
    one of them changes."""
    size, known = 0, sha256()
    for inside, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            status = os.lstat(Path(inside) / name)
            size += status.st_size
            known.update(f"{inside}/{name} {status.st_size} {status.st_mtime_ns}\n".encode())
    return size, int.from_bytes(known.digest()[:6], "big")


def _digest(faces: ImageSet) -> str:
    return sha256(faces.labels.tobytes()).hexdigest()
