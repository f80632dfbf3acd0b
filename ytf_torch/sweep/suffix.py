"""The suffix engine: what precedes the masked maps is computed once, what follows where it changes.

It serves any layer of any network, and faster engines fall back to it.
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
from ytf_torch.sweep.pairs import batches_of, changes, latest, places_in_batches, pruning_steps

# What prepared images of a group may take. In a larger group fewer rows of batches stay without a
# pair; beyond some batches that gains nothing.
GROUP_BYTES = 24 * 2**20
MOST_BATCHES = 8


class SuffixEngine:
    """Runs what follows the masked maps again, for any layer, where a step changes an image.

    maps: where a masked channel ends, behind the layer's batch normalization, activation and
    pooling; it has the same values there on every image. prepares: the layers whose outputs are
    kept of each image: the maps, and where other ways lead around them, such as a shortcut, what
    enters from those. keeps_zero: whether the maps of a masked channel are zero.

    Every pair of step and image runs in a batch of BATCH_SIZE, at the row that the image has in the
    plain sweep's batch and with values that lie in memory as they do there: then its logits are the
    plain sweep's to the last bit.
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

    def beside(self) -> SweepEngine:
        """See SweepEngine. It changes nothing of itself or of the network."""
        return self

    @cached_property
    def silence(self) -> Tensor:
        """(BATCH_SIZE, channels, H, W): the maps of channels that are masked. Not always zero: a
        batch normalization makes something else of a zero before it."""
        shape = (BATCH_SIZE, *self.model.output_shape(self.layer))
        zeros = torch.zeros(shape, dtype=self.model.dtype, device=self.model.device)
        zeros = zeros.contiguous(memory_format=torch.channels_last)
        return self.model.output_of(self.maps, {self.layer: zeros})

    @cached_property
    def strides(self) -> dict[str, tuple[int, ...]]:
        """How the prepared outputs of a batch lie in memory."""
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
        """The prepared outputs as one tensor: a single one as it is, several as rows of values,
        maps place by place, as they mostly lie in memory."""
        if len(outputs) == 1:
            return outputs[0]
        rows = [o.permute(0, 2, 3, 1) if o.ndim == 4 else o for o in outputs]
        return torch.cat([row.flatten(1) for row in rows], dim=1)

    def unpacked(self, prepared: Tensor) -> dict[str, Tensor]:
        """Layer → output (images, …), of what `observe` gave."""
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
        """Logits (BATCH_SIZE, classes) of one batch where `masked` (batch or 1, channels) is True
        at what is off."""
        known = {
            name: _lying(output, self.strides[name])
            for name, output in self.unpacked(prepared).items()
        }
        maps = known[self.maps]
        off = masked[:, :, None, None]
        rest = maps.masked_fill(off, 0) if self.keeps_zero else torch.where(off, self.silence, maps)
        known[self.maps] = _lying(rest, maps.stride())
        return self.model.output_of(self.model.graph.output, known)

    def alive(self, maps: Tensor) -> Tensor:
        """(images, channels): whether masking a channel changes anything on an image."""
        if self.keeps_zero:
            return (maps != 0).flatten(2).any(2)
        differs = torch.unflatten(maps, 0, (-1, BATCH_SIZE)) != self.silence
        return differs.flatten(0, 1).flatten(2).any(2)

    def predictions(self, prepared: Tensor, order: Sequence[int]) -> Tensor:
        """See SweepEngine. Where masking a channel changes nothing on an image, its class stays."""
        alive = self.alive(self.unpacked(prepared)[self.maps])
        steps, images, _ = changes(alive, order)
        places, count = places_in_batches(images)
        pairs = self.pair_logits(prepared, images, steps, order, places, count)
        found = torch.cat([classes_of(logits) for logits in pairs])[places]
        return latest(found, steps, images, len(order) + 1, len(prepared))

    def pair_logits(
        self,
        prepared: Tensor,
        images: Tensor,
        steps: Tensor,
        order: Sequence[int],
        places: Tensor,
        count: int,
    ) -> Iterator[Tensor]:
        """The logits of pairs of image and step, batch by batch, see places_in_batches; the places
        between are filled with any image."""
        rank = pruning_steps(order, prepared.device)
        all_images = torch.arange(count, device=places.device) % BATCH_SIZE
        all_steps = torch.zeros_like(all_images)
        all_images[places], all_steps[places] = images, steps
        for rows, at in zip(batches_of(all_images), batches_of(all_steps), strict=True):
            yield self.logits(prepared[rows], rank[None] < at[:, None])


def cut_behind(graph: Graph, maps: str) -> tuple[str, ...]:
    """The layers from whose outputs everything can be computed that depends on these maps: they,
    and what else is read by whatever lies behind them."""
    if graph.is_on_every_way(maps):
        return (maps,)
    behind: set[str] = set()
    for each in graph.layers:
        if {maps, *behind} & set(each.inputs):
            behind.add(each.name)
    read = {maps} | {source for name in behind for source in graph[name].inputs} - behind
    return tuple(each.name for each in graph.layers if each.name in read)


def _lying(tensor: Tensor, strides: tuple[int, ...]) -> Tensor:
    """The same values with these strides."""
    if tensor.stride() == strides or 0 in strides:
        return tensor
    return torch.empty_strided(
        tensor.shape, strides, dtype=tensor.dtype, device=tensor.device
    ).copy_(tensor)
