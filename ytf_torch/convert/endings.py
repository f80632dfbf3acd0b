"""Export formats, selected by the file name extension."""

from __future__ import annotations

from pathlib import Path

from ytf_torch.errors import mismatch

KERAS = (".h5", ".weights.h5", ".keras")
ENDINGS = (*KERAS, ".onnx", ".pt2", ".safetensors")
# Formats that can store a GoodNet.
GOODNET_ENDINGS = (".h5", ".keras", ".onnx", ".pt2")


def as_keras_reads(path: Path) -> Path:
    """The path with its extension in lower case: Keras recognises formats by the extension, and
    does not load a file named X.H5.

    >>> as_keras_reads(Path("Repaired.Weights.H5")).name
    'Repaired.weights.h5'
    """
    name = path.name
    length = max((len(end) for end in ENDINGS if name.lower().endswith(end)), default=0)
    return path.with_name(name[: len(name) - length] + name[len(name) - length :].lower())


def ending_of(path: Path, *, goodnet: bool) -> str:
    """The extension of an export format, such as .weights.h5. Raises InputError for another
    extension, or, with `goodnet`, for a format that cannot store a GoodNet."""
    endings = [ending for ending in ENDINGS if path.name.lower().endswith(ending)]
    if not endings:
        raise mismatch(path, f"a file ending in {', '.join(ENDINGS)}", path.suffix or "none")
    ending = max(endings, key=len)
    if goodnet and ending not in GOODNET_ENDINGS:
        raise mismatch(path, "GoodNet as .h5, .keras, .onnx or .pt2", ending)
    return ending
