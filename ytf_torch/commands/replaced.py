"""What an output may replace: an earlier output of its kind, and nothing else.

A mistyped -o must not cost an image set or somebody's notes.
"""

from __future__ import annotations

import json
from pathlib import Path

from ytf_torch.disk.reading import KERAS_ARCHIVE, ONNX, SAFETENSORS, is_hdf5, is_zip, kind_of
from ytf_torch.disk.writing import what_is_at
from ytf_torch.disk.zip_kinds import NUMPY
from ytf_torch.errors import mismatch

# A report is smaller: it lists the layers of a network or the images that were given.
MAX_REPORT_BYTES = 64 * 2**20


def check_replaceable(path: Path) -> None:
    """Raises InputError where a file is at `path` that no earlier output of that name can be: not a
    network of the format that the name's ending says, or, with any other ending, not JSON. A file
    without content may be replaced."""
    if what_is_at(path) != "a file" or path.stat().st_size == 0:
        return
    found = _what_else(path)
    if found is not None:
        expected = "no file, or an earlier output to replace"
        raise mismatch(path, expected, found, "Choose another -o or --json")


def _what_else(path: Path) -> str | None:
    """What a file is that is no earlier output; None if it may be one."""
    ending, found = path.suffix.lower(), kind_of(path)
    if ending in (".h5", ".hdf5"):
        if not is_hdf5(path):
            return found.words
        from ytf_torch.disk.hdf5 import kind, open_hdf5

        with open_hdf5(path) as file:
            return "an image set" if kind(file, "data") == "a dataset" else None
    formats = {".safetensors": SAFETENSORS, ".keras": KERAS_ARCHIVE, ".onnx": ONNX}
    if ending in formats:
        return None if found == formats[ending] else found.words
    if ending == ".pt2":
        return None if is_zip(path) and found != NUMPY else found.words
    return None if _is_json(path) else found.words


def _is_json(path: Path) -> bool:
    if path.stat().st_size > MAX_REPORT_BYTES:
        return False
    try:
        json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        return False
    return True
