from __future__ import annotations

import io
import struct
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest

from ytf_torch.disk.archive import open_archive
from ytf_torch.errors import InputError

NUMBERS = np.arange(24.0).reshape(2, 3, 4)


def read(path: Path, name: str = "a") -> np.ndarray:
    with open_archive(path) as archive:
        return archive.array(name)


@pytest.mark.parametrize(
    "dtype", ["u1", "i1", "<i2", ">u2", "<i8", ">i8", "<f2", ">f4", "<f8", ">f8"]
)
@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_arrays_are_returned_in_native_byte_order(tmp_path: Path, save, dtype: str) -> None:
    save(tmp_path / "a.npz", a=NUMBERS.astype(dtype))
    found = read(tmp_path / "a.npz")
    assert np.array_equal(found, NUMBERS)
    assert found.dtype == np.dtype(dtype).newbyteorder("=")
    assert found.dtype.isnative


@pytest.mark.parametrize("array", [NUMBERS.T, NUMBERS[:, ::2], np.float64(3), np.zeros((0, 3))])
def test_arrays_of_any_memory_layout_keep_their_values(tmp_path: Path, array: np.ndarray) -> None:
    np.savez(tmp_path / "a.npz", a=array)
    found = read(tmp_path / "a.npz")
    assert found.shape == np.shape(array)
    assert np.array_equal(found, array)


@pytest.mark.parametrize(
    "array",
    [
        np.array([{}], object),
        np.array(["a"]),
        np.zeros(2, complex),
        np.zeros(2, bool),
        np.zeros(2, "M8[s]"),
        np.zeros(2, [("a", "f4")]),
        pytest.param(
            np.zeros(2, np.longdouble),
            marks=pytest.mark.skipif(np.longdouble(0).nbytes == 8, reason="no long doubles here"),
        ),
    ],
)
def test_other_dtypes_are_refused_with_the_members_name(tmp_path: Path, array: np.ndarray) -> None:
    np.savez(tmp_path / "a.npz", a=array)
    with pytest.raises(InputError, match=r"a\.npz:a\.npy: expected integers or floats"):
        read(tmp_path / "a.npz")


@pytest.mark.parametrize(("packing", "number"), [(zipfile.ZIP_BZIP2, 12), (zipfile.ZIP_LZMA, 14)])
def test_only_stored_and_deflated_members_are_unpacked(
    tmp_path: Path, packing: int, number: int
) -> None:
    with zipfile.ZipFile(tmp_path / "a.npz", "w", packing) as archive:
        archive.writestr("a.npy", b"a" * 1000)
    with pytest.raises(InputError, match=f"stored or deflated.*found method {number}"):
        read(tmp_path / "a.npz")


def zip_declaring(packed: bytes, method: int, declared: int) -> bytes:
    """An archive whose member a.npy declares a size, whatever its content is."""
    sizes = struct.pack("<III", zlib.crc32(b""), len(packed), declared)
    local = b"PK\3\4" + struct.pack("<HHHHH", 20, 0, method, 0, 0) + sizes
    local += struct.pack("<HH", 5, 0) + b"a.npy" + packed
    directory = b"PK\1\2" + struct.pack("<HHHHHH", 20, 20, 0, method, 0, 0) + sizes
    directory += struct.pack("<HHHHHII", 5, 0, 0, 0, 0, 0, 0) + b"a.npy"
    end = struct.pack("<HHHHIIH", 0, 0, 1, 1, len(directory), len(local), 0)
    return local + directory + b"PK\5\6" + end


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize("declared", [10, 10**6])
def test_members_that_declare_a_wrong_size_are_refused(
    tmp_path: Path, method: int, declared: int
) -> None:
    content = bytes(1000)
    if method == zipfile.ZIP_DEFLATED:
        packer = zlib.compressobj(9, zlib.DEFLATED, -15)
        content = packer.compress(content) + packer.flush()
    (tmp_path / "a.npz").write_bytes(zip_declaring(content, method, declared))
    with pytest.raises(InputError, match=r"a\.npz"):
        read(tmp_path / "a.npz")


@pytest.mark.parametrize(
    "header",
    [
        "-" * 9000 + "1",
        "(" * 5000 + ")" * 5000,
        "__import__('os').system('id')",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (-1,)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (4611686018427387904,)}",
        "{'descr': 'O', 'fortran_order': False, 'shape': (1,)}",
    ],
)
def test_a_malformed_npy_header_is_refused(tmp_path: Path, header: str) -> None:
    member = b"\x93NUMPY\1\0" + struct.pack("<H", len(header)) + header.encode() + bytes(4)
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("a.npy", member)
    with pytest.raises(InputError, match=r"a\.npz:a\.npy: (expected|declares)"):
        read(tmp_path / "a.npz")


def test_a_member_is_returned_as_bytes_up_to_the_limit(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.keras", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("config.json", b"{}" * 100)
    with open_archive(tmp_path / "a.keras") as found:
        assert found.names() == ["config.json"]
        assert found.content("config.json", 200) == b"{}" * 100
        with pytest.raises(InputError, match="at most 199 bytes, found 200"):
            found.content("config.json", 199)
        with pytest.raises(InputError, match=r"expected b\.json, found config\.json"):
            found.content("b.json", 9)


def test_a_duplicate_member_name_is_refused(tmp_path: Path) -> None:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("a.npy", b"1")
        archive.writestr("b.npy", b"2")
    (tmp_path / "a.npz").write_bytes(content.getvalue().replace(b"b.npy", b"a.npy"))
    with pytest.raises(InputError, match="a member is named twice"):
        read(tmp_path / "a.npz")


@pytest.mark.parametrize(
    ("content", "line"),
    [(b"", "an empty file"), (b"\x93NUMPY", "a NumPy array"), (b"PK\3\4 broken", "truncated")],
)
def test_a_file_that_is_not_an_archive_is_reported_by_its_kind(
    tmp_path: Path, content: bytes, line: str
) -> None:
    (tmp_path / "a.npz").write_bytes(content)
    with pytest.raises(InputError, match=line):
        read(tmp_path / "a.npz")
