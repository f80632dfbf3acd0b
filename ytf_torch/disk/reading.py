"""What kind of file a path leads to, and whether it may be read."""

from __future__ import annotations

from pathlib import Path

from ytf_torch.errors import InputError, mismatch


def is_hdf5(path: Path) -> bool:
    """Whether the file starts with HDF5's signature."""
    return _signature(path) == b"\x89HDF\r\n\x1a\n"


def _signature(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(8)


def check_no_archive(path: Path) -> None:
    """Raises InputError for a zip, as Keras 3's .keras is one."""
    if _signature(checked_file(path)).startswith(b"PK\x03\x04"):
        found = "a zip archive, such as Keras 3's .keras"
        remedy = "Save it again in Keras with model.save('….h5')"
        raise mismatch(path, "an HDF5 file", found, remedy)


def checked_file(path: Path) -> Path:
    """`path`, if it is a regular file that can be read. Raises InputError otherwise."""
    try:
        if not path.exists():
            raise InputError(path, "no such file")
        if not path.is_file():
            raise InputError(path, "not a file")
        with path.open("rb") as file:
            file.read(1)
    except OSError as error:
        raise InputError(path, f"cannot be read ({error.strerror})") from error
    return path
