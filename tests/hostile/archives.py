"""Attacks by a .keras archive: each builder writes one into a folder and returns its path."""

from __future__ import annotations

import json
import stat
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any
from zipfile import ZIP_BZIP2, ZIP_DEFLATED, ZIP_LZMA, ZIP_STORED, ZipFile, ZipInfo

import h5py
import numpy as np

from tests.hostile.corpus import CANARY, Builder, Corpus, packed_zeros
from tests.made.keras_files import SMALL, Config, edit_layer, random_weights, write_keras_archive

ATTACKS = Corpus()
WEIGHTS = random_weights(SMALL)


def sound(folder: Path, **options: Any) -> Path:
    return write_keras_archive(folder / "net.keras", SMALL, WEIGHTS, **options)


def members(path: Path) -> dict[str, bytes]:
    with ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def packed(change: Callable[[ZipFile, dict[str, bytes]], Any]) -> Builder:
    """An archive that `change` fills from the members of a sound one."""

    def build(folder: Path) -> Path:
        content = members(sound(folder))
        with ZipFile(folder / "net.keras", "w") as archive:
            change(archive, content)
        return folder / "net.keras"

    return build


def with_member(name: str, content: bytes = b"", **attributes: Any) -> Builder:
    """A sound archive with one more member."""

    def change(archive: ZipFile, sound_members: dict[str, bytes]) -> None:
        for sound_name, sound_content in sound_members.items():
            archive.writestr(sound_name, sound_content)
        member = ZipInfo(name)
        for attribute, value in attributes.items():
            setattr(member, attribute, value)
        archive.writestr(member, content)

    return packed(change)


def replaced(name: str, content: bytes | None, method: int = ZIP_STORED) -> Builder:
    """A sound archive in which a member is another one, or missing."""

    def change(archive: ZipFile, sound_members: dict[str, bytes]) -> None:
        for member, sound_content in sound_members.items():
            chosen = content if member == name else sound_content
            if chosen is not None:
                archive.writestr(member, chosen, method if member == name else ZIP_STORED)

    return packed(change)


def configured(edit: Callable[[Config], Any]) -> Builder:
    return lambda folder: sound(folder, edit=edit)


def weights(change: Callable[[h5py.File], Any]) -> Builder:
    """A sound archive whose weights file `change` was let loose on."""

    def build(folder: Path) -> Path:
        content = members(sound(folder))
        (folder / "w.h5").write_bytes(content["model.weights.h5"])
        with h5py.File(folder / "w.h5", "r+") as file:
            change(file)
        content["model.weights.h5"] = (folder / "w.h5").read_bytes()
        (folder / "w.h5").unlink()
        with ZipFile(folder / "net.keras", "w") as archive:
            for name, data in content.items():
                archive.writestr(name, data)
        return folder / "net.keras"

    return build


def directory_says(name: str, **numbers: int) -> Builder:
    """A sound archive whose list of members tells other sizes than the member has.

    numbers: place in the entry of the list → 4 bytes that are written there.
    """
    places = {"packed": 20, "unpacked": 24, "checksum": 16, "start": 42}

    def build(folder: Path) -> Path:
        path = sound(folder)
        content = bytearray(path.read_bytes())
        entry = content.rindex(b"PK\1\2", 0, content.rindex(name.encode()))
        for place, number in numbers.items():
            struct.pack_into("<I", content, entry + places[place], number)
        path.write_bytes(content)
        return path

    return build


def link(name: str) -> ZipInfo:
    member = ZipInfo(name)
    member.external_attr = (stat.S_IFLNK | 0o777) << 16
    return member


for slip in (
    "../evil.h5",
    "/etc/evil",
    "assets/../../evil",
    "C:\\evil",
    "a\\..\\evil",
    "..",
    "a:b",
):
    ATTACKS.add(f"a member that is called {slip}", with_member(slip, b"x"), "leads out of")
ATTACKS.add(
    "a link among its members",
    with_member("assets/passwd", b"/etc/passwd", external_attr=(stat.S_IFLNK | 0o777) << 16),
    "refused: a link",
)


def linked_weights(archive: ZipFile, sound_members: dict[str, bytes]) -> None:
    archive.writestr("config.json", sound_members["config.json"])
    archive.writestr(link("model.weights.h5"), b"/etc/passwd")


ATTACKS.add("weights that are a link", packed(linked_weights), "refused: a link")
ATTACKS.add("no configuration", replaced("config.json", None), "expected config.json")
ATTACKS.add("no weights", replaced("model.weights.h5", None), "expected model.weights.h5")
ATTACKS.add("weights of NumPy", with_member("model.weights.npz", b"x"), "expected weights in HDF5")
ATTACKS.add("weights that are text", replaced("model.weights.h5", b"hello" * 99), "damaged")
ATTACKS.add("weights that are empty", replaced("model.weights.h5", b""), "damaged")
ATTACKS.add("weights cut off", replaced("model.weights.h5", b"\x89HDF\r\n\x1a\n"), "damaged")
ATTACKS.add("a configuration of other bytes", replaced("config.json", b"\xff\xfe{}"), "UTF-8")
ATTACKS.add("a configuration that is no JSON", replaced("config.json", b"{"), "expected JSON")
ATTACKS.add("a configuration that is a list", replaced("config.json", b"[]"), "something else")
ATTACKS.add("a deep configuration", replaced("config.json", b"[" * 10**5), "damaged text")
ATTACKS.add(
    "a configuration of megabytes",
    replaced("config.json", json.dumps(" " * 5 * 2**20).encode()),
    "expected at most",
)
ATTACKS.add("a wrong checksum", directory_says("config.json", checksum=0), "damaged")
for method, name in ((ZIP_BZIP2, "bzip2"), (ZIP_LZMA, "LZMA")):
    ATTACKS.add(
        f"weights packed with {name}",
        replaced("model.weights.h5", b"x" * 99, method),
        "found method",
    )


@ATTACKS("a member named twice", "named twice")
def twice(folder: Path) -> Path:
    path = with_member("config.jsom", b"{}")(folder)
    path.write_bytes(path.read_bytes().replace(b"config.jsom", b"config.json"))
    return path


@ATTACKS("an encrypted archive", "refused: encrypted")
def encrypted(folder: Path) -> Path:
    path = sound(folder)
    content = bytearray(path.read_bytes())
    for start, flags in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        place = -1
        while (place := content.find(start, place + 1)) >= 0:
            content[place + flags] |= 1
    path.write_bytes(content)
    return path


ATTACKS.add(
    "a member that says it is smaller", directory_says("model.weights.h5", unpacked=1000), "damaged"
)
ATTACKS.add(
    "a member that says it is larger",
    directory_says("model.weights.h5", unpacked=90_000_000),
    "bytes declared|damaged",
)
ATTACKS.add(
    "a member that says it has gigabytes",
    directory_says("model.weights.h5", unpacked=2**32 - 2),
    "expected at most",
)
ATTACKS.add(
    "a member that starts beyond the end", directory_says("config.json", start=2**31), "damaged"
)
ATTACKS.add("a member that starts at another", directory_says("config.json", start=0), "damaged")


@ATTACKS("a bomb for its weights", "bytes", heavy=True)
def bomb(folder: Path) -> Path:
    """64 MiB of zeros that are packed into 64 kB."""
    path = sound(folder)
    content = members(path)
    with ZipFile(path, "w") as archive:
        archive.writestr("config.json", content["config.json"])
        archive.writestr("model.weights.h5", bytes(64 * 2**20), ZIP_DEFLATED)
    return path


@ATTACKS("a bomb that says it is small", "damaged|expected", heavy=True)
def lying_bomb(folder: Path) -> Path:
    """1 GiB of zeros in a member that says it has a kilobyte."""
    packed_bytes = packed_zeros(64)[2:-4]  # as zip has it, without zlib's own head and end
    name, checksum = b"config.json", zlib.crc32(bytes(1000))
    sizes = struct.pack("<III", checksum, len(packed_bytes), 1000)
    common = struct.pack("<HHHHH", 20, 0, ZIP_DEFLATED, 0, 33) + sizes
    head = b"PK\3\4" + common + struct.pack("<HH", len(name), 0) + name
    entry = b"PK\1\2" + struct.pack("<H", 20) + common
    entry += struct.pack("<HHHHHII", len(name), 0, 0, 0, 0, 0, 0) + name
    start = len(head) + len(packed_bytes)
    end = b"PK\5\6" + struct.pack("<HHHHIIH", 0, 0, 1, 1, len(entry), start, 0)
    path = folder / "net.keras"
    path.write_bytes(head + packed_bytes + entry + end)
    return path


@ATTACKS("a hundred thousand members", "too many members", heavy=True)
def crowded(folder: Path) -> Path:
    path = folder / "net.keras"
    with ZipFile(path, "w") as archive:
        for number in range(100_000):
            archive.writestr(ZipInfo(f"{number}"), b"")
    return path


def lambda_layer(config: Config) -> None:
    config["config"]["layers"][3]["class_name"] = "Lambda"
    edit_layer(config, "conv_2", function={"class_name": "__lambda__", "config": {"code": CANARY}})


ATTACKS.add("a Lambda layer", configured(lambda_layer), "refused: .*can run code of its own")
ATTACKS.add(
    "an activation that is a function",
    configured(
        lambda config: edit_layer(
            config,
            "conv_1",
            activation={"module": "builtins", "class_name": "function", "config": "system"},
        )
    ),
    "refused: function",
)
ATTACKS.add(
    "an initializer of another module",
    configured(
        lambda config: edit_layer(
            config, "fc_1", kernel_initializer={"module": "os", "class_name": "system"}
        )
    ),
    "refused: system of module os",
)
ATTACKS.add(
    "a custom object",
    configured(lambda config: config.update(registered_name="people>Net")),
    "refused: custom object",
)
ATTACKS.add(
    "a layer that runs a SavedModel",
    configured(lambda config: config["config"]["layers"][3].update(class_name="TFSMLayer")),
    "refused: TFSMLayer",
)
ATTACKS.add(
    "a wrapper in a wrapper",
    configured(
        lambda config: config["config"]["layers"][1].update(
            class_name="PruneLowMagnitude",
            config={"name": "w", "layer": {"class_name": "Lambda", "config": {"name": "conv_1"}}},
        )
    ),
    "refused: Lambda",
)


def vars_of(file: h5py.File) -> h5py.Group:
    return file["layers/conv2d_2/vars"]


def another_kernel(change: Callable[[h5py.Group], Any]) -> Builder:
    def build(file: h5py.File) -> None:
        del vars_of(file)["0"]
        change(vars_of(file))

    return weights(build)


ATTACKS.add(
    "an external link in the weights",
    another_kernel(lambda g: g.__setitem__("0", h5py.ExternalLink("/etc/passwd", "/"))),
    "external link",
)
ATTACKS.add(
    "a soft link in the weights",
    another_kernel(lambda g: g.__setitem__("0", h5py.SoftLink("/layers/conv2d_1/vars/0"))),
    "soft link",
)
ATTACKS.add(
    "external storage in the weights",
    another_kernel(
        lambda g: g.create_dataset("0", (3, 3, 4, 6), "f4", external=[("/etc/passwd", 0, 864)])
    ),
    "external storage",
)
ATTACKS.add(
    "a kernel that declares gigabytes",
    another_kernel(lambda g: g.create_dataset("0", (2**28, 8), "f4", chunks=(2**10, 8))),
    "expected at most",
)
ATTACKS.add(
    "a kernel of NaN",
    another_kernel(lambda g: g.__setitem__("0", np.full((3, 3, 4, 6), np.nan, "f4"))),
    "NaN",
)
ATTACKS.add(
    "a kernel of int8",
    another_kernel(lambda g: g.__setitem__("0", np.ones((3, 3, 4, 6), "i1"))),
    "quantised weights, of int8",
)
ATTACKS.add(
    "a kernel for another layer",
    another_kernel(lambda g: g.__setitem__("0", np.ones((3, 3, 4, 7), "f4"))),
    "filters|expected",
)
ATTACKS.add(
    "a third weight",
    weights(lambda f: vars_of(f).__setitem__("2", 1.0)),
    r"unexpected conv_3 \(2\)",
)
ATTACKS.add("no bias", weights(lambda f: vars_of(f).__delitem__("1")), r"missing conv_3 \(bias\)")
ATTACKS.add(
    "a layer too few", weights(lambda f: f["layers"].__delitem__("conv2d_3")), "4 conv2d, as in"
)
ATTACKS.add(
    "an ordinal left out",
    weights(lambda f: f["layers"].move("conv2d_1", "conv2d_7")),
    "without gaps",
)
ATTACKS.add(
    "weights that tell another name",
    weights(lambda f: vars_of(f).attrs.__setitem__("name", "conv_2")),
    "expected the weights of conv_3, found those of conv_2",
)
ATTACKS.add(
    "weights of a layer that DeepID has not",
    weights(lambda f: f.__setitem__("layers/batch_normalization/vars/0", np.ones(3, "f4"))),
    "expected 0 batch_normalization, as in the model",
)
ATTACKS.add(
    "a store of twenty thousand layers",
    weights(lambda f: [f["layers"].create_group(f"dense_{n}") for n in range(3, 20_000)]),
    "expected at most",
    heavy=True,
)
for kept in (1, 30, 100, 5000, 40_000):

    def truncated(folder: Path, kept: int = kept) -> Path:
        path = sound(folder)
        content = path.read_bytes()
        path.write_bytes(content[: len(content) - kept])
        return path

    ATTACKS.add(f"cut off by {kept} bytes", truncated, "truncated|damaged")
