"""A named collection of hostile files, each made by a function when it is asked for."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

Builder = Callable[[Path], Path]
CANARY = "code-was-run"


def packed_zeros(sixteen_mebibytes: int) -> bytes:
    """A zlib stream of that many times 16 MiB of zeros, made in no time: its blocks are alike."""
    size = 2**24
    packer = zlib.compressobj(9)
    first = packer.compress(bytes(size)) + packer.flush(zlib.Z_FULL_FLUSH)
    block = packer.compress(bytes(size)) + packer.flush(zlib.Z_FULL_FLUSH)
    checksum = (size * sixteen_mebibytes % 65521) << 16 | 1
    last = b"\x03\x00" + checksum.to_bytes(4, "big")
    return first + block * (sixteen_mebibytes - 1) + last


def written(name: str, content: bytes | str) -> Builder:
    def build(folder: Path) -> Path:
        path = folder / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return build


@dataclass(frozen=True)
class Attack:
    """A hostile file. says: what the line on it has to match; None for any line.

    heavy: it goes for memory or time, and is run in a process that is measured too.
    """

    name: str
    build: Builder
    says: str | None
    heavy: bool = False


@dataclass
class Corpus:
    """Attacks of one kind, in the order in which they were added."""

    attacks: dict[str, Attack] = field(default_factory=dict)

    def add(self, name: str, build: Builder, says: str | None = None, heavy: bool = False) -> None:
        assert name not in self.attacks, name
        self.attacks[name] = Attack(name, build, says, heavy)

    def __call__(
        self, name: str, says: str | None = None, heavy: bool = False
    ) -> Callable[[Builder], Builder]:
        def register(build: Builder) -> Builder:
            self.add(name, build, says, heavy)
            return build

        return register

    def __iter__(self) -> Iterator[Attack]:
        return iter(self.attacks.values())

    def parameters(self) -> list[object]:
        return [pytest.param(attack, id=attack.name) for attack in self]
