"""The suffix engine: layers before the masked maps run once per image, those behind them only at
steps that change the image.

It works for any layer of any network. The faster engines fall back to it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import cached_property

import torch
from torch import Tensor

from ytf_torch.images.batches import BATCH_SIZE
from ytf_torch.network.graph import Graph
from ytf_torch.network.module import Network
from ytf_torch.network.pruned_layer import channel_path, maps_of
from ytf_torch.predicted_class import classes_of
from ytf_torch.sweep.engine import SweepEngine
from ytf_torch.sweep.pairs import batches_of, changes, latest, pruning_steps, slots_in_batches

# Memory limit for the prepared images of one group, and the largest number of batches in it. The
# larger a group, the fewer slots of its batches of pairs stay empty; beyond MOST_BATCHES the gain
# vanishes.
GROUP_BYTES = 24 * 2**20
MOST_BATCHES = 8


class SuffixEngine:
    """Recomputes the layers behind the masked maps for each (step, image) pair that changes.

    maps: the last layer that a masked channel passes alone (batch normalization, activation,
    pooling); there it has the same values on every image. prepares: the layers whose outputs are
    stored for each image: the maps and, where paths such as a shortcut lead around them, the
    outputs that join from those. keeps_zero: whether a masked channel is still zero at the maps.

    Every pair runs in a batch of BATCH_SIZE, in the row that the image has in the plain sweep's
    batch, and with the same strides: matrix libraries choose the order of additions by these, so
    only then the logits equal the plain sweep's to the last bit.
    """

    def __init__(self, model: Network, layer: str, rank_at: str) -> None:
        self.model, self.layer, self.rank_at = model, layer, rank_at
        self.maps = maps_of(model.graph, layer)
        self.prepares = cut_behind(model.graph, self.maps)
        self.shapes = [model.output_shape(name) for name in self.prepares]
        behind = channel_path(model.graph, layer)[1:]
        self.keeps_zero = all(model.graph[name].kind.keeps_zero for name in behind)
        values = sum(map(math.prod, self.shapes))
        batches = GROUP_BYTES // (values * model.dtype.itemsize * BATCH_SIZE)
        self.group = min(max(batches, 1), MOST_BATCHES) * BATCH_SIZE

    def clone(self) -> SweepEngine:
        """See SweepEngine. Itself: it modifies neither its own state nor the network."""
        return self

    @cached_property
    def silence(self) -> Tensor:
        """(BATCH_SIZE, channels, H, W): the maps where all channels of the layer are masked.

        Not always zero: batch normalization maps zero to `beta − gamma · mean / σ`.
        """
        shape = (BATCH_SIZE, *self.model.output_shape(self.layer))
        zeros = torch.zeros(shape, dtype=self.model.dtype, device=self.model.device)
        zeros = zeros.contiguous(memory_format=torch.channels_last)
        return self.model.output_of(self.maps, {self.layer: zeros})

    @cached_property
    def strides(self) -> dict[str, tuple[int, ...]]:
        """The strides that each prepared output of a batch has in a plain forward pass."""
        shape = (BATCH_SIZE, *self.model.input_shape)
        pixels = torch.zeros(shape, dtype=torch.uint8, device=self.model.device)
        scaled = {self.model.graph.input: self.model.scale(pixels)}
        outputs = self.model.outputs_of(self.prepares, scaled)
        return {name: output.stride() for name, output in outputs.items()}

    def observe(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """See SweepEngine."""
        scaled = {self.model.graph.input: self.model.scale(pixels)}
        outputs = self.model.outputs_of((self.rank_at, *self.prepares), scaled)
        return outputs[self.rank_at], self._packed([outputs[name] for name in self.prepares])

    def _packed(self, outputs: list[Tensor]) -> Tensor:
        """Pack the prepared outputs into one tensor.

        A single output is returned unchanged. Several become rows (images, values), maps in
        channels_last order, which is mostly their memory format already.
        """
        if len(outputs) == 1:
            return outputs[0]
        rows = [output.permute(0, 2, 3, 1) if output.ndim == 4 else output for output in outputs]
        return torch.cat([row.flatten(1) for row in rows], dim=1)

    def unpacked(self, prepared: Tensor) -> dict[str, Tensor]:
        """Layer name → output (images, …): the inverse of `_packed`."""
        if len(self.prepares) == 1:
            return {self.prepares[0]: prepared}
        parts = torch.split(prepared, [math.prod(shape) for shape in self.shapes], dim=1)
        outputs = []
        for part, shape in zip(parts, self.shapes, strict=True):
            if len(shape) == 3:
                channels, height, width = shape
                maps = part.reshape(-1, height, width, channels)
                outputs.append(maps.permute(0, 3, 1, 2))
            else:
                outputs.append(part.reshape(-1, *shape))
        return dict(zip(self.prepares, outputs, strict=True))

    def logits(self, prepared: Tensor, masked: Tensor) -> Tensor:
        """Logits (BATCH_SIZE, classes) of one batch with some channels masked.

        masked: (BATCH_SIZE or 1, channels) of bool, True for a masked channel.
        """
        outputs = {
            name: _with_strides(output, self.strides[name])
            for name, output in self.unpacked(prepared).items()
        }
        maps = outputs[self.maps]
        off = masked[:, :, None, None]
        masked_maps = (
            maps.masked_fill(off, 0) if self.keeps_zero else torch.where(off, self.silence, maps)
        )
        # masked_fill and torch.where may choose strides of their own.
        outputs[self.maps] = _with_strides(masked_maps, maps.stride())
        return self.model.output_of(self.model.graph.output, outputs)

    def alive(self, maps: Tensor) -> Tensor:
        """(images, channels) of bool: whether masking a channel changes the maps of an image."""
        if self.keeps_zero:
            return (maps != 0).flatten(2).any(2)
        differs = torch.unflatten(maps, 0, (-1, BATCH_SIZE)) != self.silence
        return differs.flatten(0, 1).flatten(2).any(2)

    def predictions(self, prepared: Tensor, order: Sequence[int]) -> Tensor:
        """See SweepEngine. A step that does not change an image's maps keeps its class."""
        alive = self.alive(self.unpacked(prepared)[self.maps])
        steps, images, _ = changes(alive, order)
        slots, slot_count = slots_in_batches(images)
        pairs = self.pair_logits(prepared, images, steps, order, slots, slot_count)
        classes = torch.cat([classes_of(logits) for logits in pairs])[slots]
        return latest(classes, steps, images, len(order) + 1, len(prepared))

    def pair_logits(
        self,
        prepared: Tensor,
        images: Tensor,
        steps: Tensor,
        order: Sequence[int],
        slots: Tensor,
        slot_count: int,
    ) -> Iterator[Tensor]:
        """Yield the logits of pairs, batch by batch, in the slots of slots_in_batches.

        Empty slots hold unmasked images of the same row, whose logits nobody reads.
        """
        masked_at = pruning_steps(order, prepared.device)
        all_images = torch.arange(slot_count, device=slots.device) % BATCH_SIZE
        all_steps = torch.zeros_like(all_images)
        all_images[slots], all_steps[slots] = images, steps
        for rows, step in zip(batches_of(all_images), batches_of(all_steps), strict=True):
            yield self.logits(prepared[rows], masked_at[None] < step[:, None])


def cut_behind(graph: Graph, maps: str) -> tuple[str, ...]:
    """The layers whose outputs suffice to compute everything downstream of `maps`: `maps` itself,
    and what else the downstream layers read."""
    if graph.is_on_every_way(maps):
        return (maps,)
    downstream: set[str] = set()
    for layer in graph.layers:
        if {maps, *downstream} & set(layer.inputs):
            downstream.add(layer.name)
    read = {maps} | {source for name in downstream for source in graph[name].inputs} - downstream
    return tuple(layer.name for layer in graph.layers if layer.name in read)


def _with_strides(tensor: Tensor, strides: tuple[int, ...]) -> Tensor:
    """The tensor with the given strides, copied only where they differ.

    A stride of 0 marks an expanded tensor, whose rows share memory; it cannot be written to.
    """
    if tensor.stride() == strides or 0 in strides:
        return tensor
    return torch.empty_strided(
        tensor.shape, strides, dtype=tensor.dtype, device=tensor.device
    ).copy_(tensor)
