"""Flatten nested models, such as those of Teachable Machine, into one model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from ytf_torch.convert.keras.keras_config import KerasLayer, KerasModel
from ytf_torch.errors import mismatch


def flattened(model: KerasModel, place: str) -> KerasModel:
    """The model with all nested models, to any depth, replaced by their layers.

    Layers keep their names; a name that occurs twice is prefixed with that of the containing model.
    The InputLayer of a nested model reads what the nested model reads.
    Raises InputError, naming it, for a nested model with several inputs or outputs.
    """
    if all(layer.inner is None for layer in model.layers):
        return replace(
            model, layers=tuple(replace(layer, path=(layer.name,)) for layer in model.layers)
        )
    try:
        flat = _Flattening(place)
        flat.add(model, ())
        return replace(model, layers=flat.layers(), outputs=flat.named((), model.outputs))
    except RecursionError as error:
        raise mismatch(place, "models that do not read themselves", "one that does") from error


class _Flattening:
    """The layers of a model and its nested models.

    by_path: path (names of the containing models, outermost first, and the layer's name) → layer.
    names: path → name in the flattened model.
    """

    def __init__(self, place: str) -> None:
        self.place = place
        self.by_path: dict[tuple[str, ...], KerasLayer] = {}
        self.names: dict[tuple[str, ...], str] = {}

    def add(self, model: KerasModel, holders: tuple[str, ...]) -> None:
        """Add all layers of a model. holders: path of the model itself."""
        for layer in model.layers:
            path = (*holders, layer.name)
            self.by_path[path] = layer
            if layer.inner is not None:
                self._check_one_input_and_output(layer, path)
                self.add(layer.inner, path)

    def _check_one_input_and_output(self, layer: KerasLayer, path: tuple[str, ...]) -> None:
        assert layer.inner is not None
        entries = [inner for inner in layer.inner.layers if inner.class_name == "InputLayer"]
        for connections, what in ((layer.inbound, "input"), (layer.inner.outputs, "output")):
            count = max(len(connections), len(entries)) if what == "input" else len(connections)
            if count != 1 or not entries:
                where = f"{self.place}, {'/'.join(path)}"
                raise mismatch(where, f"a nested model with one {what}", count)

    def layers(self) -> tuple[KerasLayer, ...]:
        """The layers that are not models themselves, under unique names."""
        plain = [path for path, layer in self.by_path.items() if layer.inner is None]
        counts = Counter(path[-1] for path in plain if not self._is_inner_input(path))
        taken: set[str] = set()
        for path in plain:
            ambiguous = counts[path[-1]] > 1 or self._is_inner_input(path)
            name = "_".join(path[-2:]) if ambiguous else path[-1]
            while name in taken:
                name += "_"
            taken.add(name)
            self.names[path] = name
        return tuple(self._layer(path) for path in plain)

    def _is_inner_input(self, path: tuple[str, ...]) -> bool:
        return len(path) > 1 and self.by_path[path].class_name == "InputLayer"

    def _layer(self, path: tuple[str, ...]) -> KerasLayer:
        layer, holders = self.by_path[path], path[:-1]
        if self._is_inner_input(path):
            inbound = self.named(holders[:-1], self.by_path[holders].inbound)
        else:
            inbound = self.named(holders, layer.inbound)
        return replace(layer, name=self.names[path], inbound=inbound, path=path)

    def named(self, holders: tuple[str, ...], layers: Sequence[str]) -> tuple[str, ...]:
        """Names in the flattened model of layers of the model at `holders`; a nested model stands
        for its output layer."""
        return tuple(self._source((*holders, name)) for name in layers)

    def _source(self, path: tuple[str, ...]) -> str:
        layer = self.by_path.get(path)
        if layer is not None and layer.inner is not None:
            return self._source((*path, *layer.inner.outputs))
        return self.names.get(path, path[-1])
