"""The suffix engine: what precedes the masked maps is computed once, what follows at every step.

It serves any layer of any network, and faster engines fall back to it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from ytf_torch.faces.batches import BATCH_SIZE
from ytf_torch.metrics import classes_of
from ytf_torch.network.module import Network
from ytf_torch.sweep.engine import SweepEngine


class SuffixEngine:
    """Runs what follows the masked maps again at every step, for any layer.

    maps: where a masked channel ends, behind the layer's batch normalization, activation and
    pooling; it has the same values there on every image, `silence`, None where they are 0.
    prepares: the layers whose outputs are kept of each image: the maps (for a layer that nothing of
    this follows, what it reads), and where other ways lead around them, such as a shortcut, what
    enters from those.
    """

    group = BATCH_SIZE

    def __init__(self, model: Network, layer: str, rank_at: str) -> None:
        self.model, self.layer, self.rank_at = model, layer, rank_at
        self.maps = model.graph.maps_of(layer)
        self.prepares = self._cut()
        self.shapes = [model.output_shape(name) for name in self.prepares]
        behind = model.graph.channel_path(layer)[1:]
        keeps_zero = all(model.graph[name].kind.keeps_zero for name in behind)
        self.silence = None if keeps_zero else self._silence()

    def beside(self) -> SweepEngine:
        """See SweepEngine. It changes nothing of itself or of the network."""
        return self

    @torch.inference_mode()
    def _silence(self) -> Tensor | None:
        """What the maps are where every channel is masked, (1, channels, H, W); None if zero."""
        shape = (1, *self.model.output_shape(self.layer))
        zeros = torch.zeros(shape, dtype=self.model.dtype, device=self.model.device)
        silence = self.model.output_of(self.maps, {self.layer: zeros})
        return silence if bool((silence != 0).any()) else None

    def _cut(self) -> tuple[str, ...]:
        """The layers from whose outputs everything that the mask changes can be computed."""
        graph = self.model.graph
        at_layer = self.maps == self.layer
        cut = graph[self.layer].inputs[0] if at_layer else self.maps
        if graph.is_on_every_way(cut):
            return (cut,)
        again = {self.layer} if at_layer else set()
        for each in graph.layers:
            if {self.maps, *again} & set(each.inputs):
                again.add(each.name)
        read = {source for name in again for source in graph[name].inputs} - again
        return tuple(each.name for each in graph.layers if each.name in read)

    def observe(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """See SweepEngine."""
        scaled = {self.model.graph.input: self.model.scale(pixels)}
        outputs = self.model.outputs_of((self.rank_at, *self.prepares), scaled)
        return outputs[self.rank_at], self._packed([outputs[name] for name in self.prepares])

    def _packed(self, outputs: list[Tensor]) -> Tensor:
        """The prepared outputs as one tensor: a single one as it is, several as rows of values,
        maps place by place, as they lie in memory."""
        if len(outputs) == 1:
            return outputs[0]
        rows = [o.permute(0, 2, 3, 1).flatten(1) if o.ndim == 4 else o for o in outputs]
        return torch.cat(rows, dim=1)

    def _unpacked(self, prepared: Tensor) -> dict[str, Tensor]:
        """Layer → output, of what `_packed` gave."""
        if len(self.prepares) == 1:
            return {self.prepares[0]: prepared}
        parts = torch.split(prepared, [math.prod(shape) for shape in self.shapes], dim=1)
        outputs = []
        for part, shape in zip(parts, self.shapes, strict=True):
            if len(shape) == 3:
                channels, height, width = shape
                part = part.reshape(-1, height, width, channels).permute(0, 3, 1, 2)
            outputs.append(part)
        return dict(zip(self.prepares, outputs, strict=True))

    def masked_maps(self, prepared: Tensor) -> Tensor:
        """The maps (batch, channels, H, W) in which a masked channel is silent."""
        return self.model.output_of(self.maps, self._unpacked(prepared))

    def logits(self, prepared: Tensor, masked: Tensor) -> Tensor:
        """Logits (batch, classes) where `masked` (batch or 1, channels) is True at what is off."""
        known = self._unpacked(prepared)
        maps = self.model.output_of(self.maps, known)
        off = masked[:, :, None, None]
        if self.silence is None:
            maps = maps.masked_fill(off, 0)
        else:
            maps = torch.where(off, self.silence, maps)
        return self.model.output_of(self.model.graph.output, known | {self.maps: maps})

    def predictions(self, prepared: Tensor, order: Sequence[int]) -> Tensor:
        """See SweepEngine."""
        step_of = pruning_steps(order, prepared.device)
        alive = self._alive(self.masked_maps(prepared))
        rows = [classes_of(self.logits(prepared, step_of[None] < 0))]
        for step, channel in enumerate(order, start=1):
            changed = alive[channel]
            masked = step_of[None] < step
            rows.append(classes_of(self.logits(prepared, masked)) if changed else rows[-1])
        return torch.stack(rows)

    def _alive(self, maps: Tensor) -> list[bool]:
        """For each channel of (batch, channels, H, W) whether masking it changes any image."""
        differs = maps != (0 if self.silence is None else self.silence)
        alive: list[bool] = differs.any(dim=3).any(dim=2).any(dim=0).tolist()
        return alive


def pruning_steps(order: Sequence[int], device: torch.device) -> Tensor:
    """(channels,): after how many other channels each one is masked."""
    steps = torch.empty(len(order), dtype=torch.int64)
    steps[list(order)] = torch.arange(len(order))
    return steps.to(device)
