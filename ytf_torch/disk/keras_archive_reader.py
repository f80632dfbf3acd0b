"""Reads .keras archives inside a sandboxed process (see confinement.py), on requests from
keras_zip.py.

Every member is checked before any is unpacked, including those that are never read. The weights
are an HDF5 file: it is unpacked into memory and read as hdf5_reader.py reads one from disk.
"""

from __future__ import annotations

import stat
from io import BytesIO, FileIO
from zipfile import ZipFile, ZipInfo

from ytf_torch.disk import hdf5_reader, zip_reader
from ytf_torch.disk.hdf5_reader import BYTES_PER_SECOND, MAX_TEXT_BYTES, SECONDS
from ytf_torch.disk.refused import RefusedError, check_at_most

__all__ = ["BYTES_PER_SECOND", "MAX_MEMORY", "METHODS", "SECONDS", "OpenFile"]

METHODS = ("member", *hdf5_reader.METHODS)
# The decompressed weights and a copy of them, in addition to what reading HDF5 needs.
MAX_MEMORY = hdf5_reader.MAX_MEMORY + 2 * zip_reader.MAX_MEMBER_BYTES
CONFIG = "config.json"
METADATA = "metadata.json"
WEIGHTS = "model.weights.h5"


def check_members(archive: ZipFile) -> None:
    """Raises RefusedError if a member's name leads out of the archive, or a member is a link,
    encrypted, compressed by an unusual method, or declares more bytes than allowed.

    Defence in depth: members are unpacked into memory, never extracted to disk.
    """
    for member in archive.infolist():
        name = member.filename
        parts = name.replace("\\", "/").split("/")
        if name.startswith("/") or "\\" in member.orig_filename or ".." in parts or ":" in name:
            raise RefusedError(name[:80], "refused: its name leads out of the archive")
        if stat.S_ISLNK(member.external_attr >> 16):
            raise RefusedError(name[:80], "refused: a link")
        _check_packing(member)


def _check_packing(member: ZipInfo) -> None:
    name = member.filename[:80]
    if member.flag_bits & 1:
        raise RefusedError(name, "refused: encrypted")
    if member.compress_type not in zip_reader.PACKINGS:
        known = " or ".join(zip_reader.PACKINGS.values())
        raise RefusedError(name, f"expected {known} data, found method {member.compress_type}")
    check_at_most(name, zip_reader.MAX_MEMBER_BYTES, member.file_size, "bytes")
    # Decompression ratio, as hdf5_reader.py limits it for datasets.
    allowed = hdf5_reader.ALWAYS_ALLOWED_BYTES // 16 + (
        hdf5_reader.MAX_INFLATION * member.compress_size
    )
    check_at_most(name, allowed, member.file_size, f"bytes declared in {member.compress_size:,}")


class OpenFile(hdf5_reader.OpenFile):
    """One opened archive: its JSON texts, and its weights as an HDF5 file."""

    def __init__(self, file: FileIO) -> None:
        with zip_reader.open_archive(file) as archive:
            check_members(archive)
            if "model.weights.npz" in archive.namelist():
                raise RefusedError("model.weights.npz", "expected weights in HDF5, found NumPy's")
            self.texts = {CONFIG: _text(archive, CONFIG)}
            if METADATA in archive.namelist():
                self.texts[METADATA] = _text(archive, METADATA)
            super().__init__(BytesIO(zip_reader.unpacked(archive, WEIGHTS)))

    def member(self, name: str) -> str | None:
        """A text member, None if the archive has none of this name."""
        return self.texts.get(name)


def _text(archive: ZipFile, name: str) -> str:
    content = zip_reader.unpacked(archive, name)
    check_at_most(name, MAX_TEXT_BYTES, len(content), "bytes")
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise RefusedError(name, "expected UTF-8 text") from error
