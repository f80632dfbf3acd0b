"""A network's layers as data: what each one is, and whose outputs it reads."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

# A convolution has its ReLU inside, as Keras's Conv2D(activation="relu"); a dense layer has none.
Kind = Literal["input", "convolution", "pool", "flatten", "dense", "add", "relu"]
MODULES = ("convolution", "pool", "dense")
WEIGHTED = ("convolution", "dense")
# Nothing but sums of products of what they read. A convolution is linear up to its own ReLU.
LINEAR = ("flatten", "dense", "add")


@dataclass(frozen=True)
class Layer:
    """One layer under its Keras name. inputs: names of the layers whose outputs it reads."""

    name: str
    kind: Kind
    inputs: tuple[str, ...] = ()

    @property
    def is_module(self) -> bool:
        """Whether it is a submodule of the network; Keras files give these layers their name."""
        return self.kind in MODULES


@dataclass(frozen=True)
class Fork:
    """The end of a network whose last maps reach the hidden units twice, directly and by way of one
    more convolution: logits = output(relu(direct(maps) + further(convolution(maps)))).

    maps: a pool or a convolution. direct, further, output: dense layers.
    """

    maps: str
    direct: str
    convolution: str
    further: str
    output: str


@dataclass(frozen=True)
class Graph:
    """All layers of a network, each behind the ones it reads; the last one gives the logits."""

    layers: tuple[Layer, ...]

    def __getitem__(self, name: str) -> Layer:
        """The layer of this name. Raises KeyError."""
        return self._by_name[name]

    @cached_property
    def _by_name(self) -> dict[str, Layer]:
        return {layer.name: layer for layer in self.layers}

    @property
    def input(self) -> str:
        """The layer that pixels enter, scaled."""
        return self.layers[0].name

    @property
    def output(self) -> str:
        """The layer whose output is the logits."""
        return self.layers[-1].name

    def names(self, *kinds: Kind) -> tuple[str, ...]:
        """The layers of these kinds, in order."""
        return tuple(layer.name for layer in self.layers if layer.kind in kinds)

    @property
    def convolutions(self) -> tuple[str, ...]:
        """The layers whose channels can be masked."""
        return self.names("convolution")

    @property
    def weighted(self) -> tuple[str, ...]:
        """The layers that have a kernel and a bias."""
        return self.names("convolution", "dense")

    def readers(self, name: str) -> tuple[str, ...]:
        """The layers that read this one's output."""
        return self._readers[name]

    @cached_property
    def _readers(self) -> dict[str, tuple[str, ...]]:
        return {
            layer.name: tuple(other.name for other in self.layers if layer.name in other.inputs)
            for layer in self.layers
        }

    def maps_of(self, convolution: str) -> str:
        """Where a masked channel is zero for all that follows: the convolution's pool where it has
        one, else the convolution itself."""
        pools = [name for name in self.readers(convolution) if self[name].kind == "pool"]
        return pools[0] if pools else convolution

    def rank_points(self, convolution: str) -> tuple[str, ...]:
        """Where the channels of a convolution can be ranked: at its pool, or at its own output.

        Raises ValueError where there is no convolution of this name.
        """
        if convolution not in self.convolutions:
            known = ", ".join(self.convolutions)
            raise ValueError(f"expected a convolution ({known}), found {convolution}")
        return tuple(dict.fromkeys((self.maps_of(convolution), convolution)))

    def linear_readers(self, name: str) -> tuple[str, ...]:
        """The layers with weights that this one's output enters with nothing before them, or up to
        the next ReLU, that is not linear."""
        found: list[str] = []
        for reader in self.readers(name):
            kind = self[reader].kind
            if kind in WEIGHTED:
                found.append(reader)
            elif kind in LINEAR:
                found += self.linear_readers(reader)
        return tuple(found)

    def fork(self) -> Fork | None:
        """The network's end, where it is a fork; None where it is built otherwise."""
        for convolution in self.convolutions:
            further = self.linear_readers(convolution)
            (maps,) = self[convolution].inputs
            direct = tuple(name for name in self.linear_readers(maps) if name != convolution)
            if len(further) != 1 or len(direct) != 1 or self[direct[0]].kind != "dense":
                continue
            sums = {self.readers(name) for name in (*direct, *further)}
            if sums == {self.readers(direct[0])} and self._is_last_sum(*self.readers(direct[0])):
                return Fork(maps, direct[0], convolution, further[0], self.output)
        return None

    def _is_last_sum(self, *names: str) -> bool:
        """Whether this is one sum of two layers, and only its ReLU and the last layer follow."""
        if len(names) != 1 or self[names[0]].kind != "add" or len(self[names[0]].inputs) != 2:
            return False
        (relu,) = self[self.output].inputs
        return self[self.output].kind == "dense" and self[relu].inputs == names

    def by_depth(self) -> tuple[Layer, ...]:
        """The layers as Keras lists them: the farthest from the output first."""
        depths = {self.output: 0}
        for layer in reversed(self.layers):
            for source in layer.inputs:
                depths[source] = max(depths.get(source, 0), depths[layer.name] + 1)
        return tuple(sorted(self.layers, key=lambda layer: -depths[layer.name]))
