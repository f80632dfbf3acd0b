"""Provenance of a network, stored as file metadata: source, preprocessing, shape and history."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from importlib.metadata import version
from typing import Any

from pydantic import TypeAdapter, ValidationError

from ytf_torch.errors import InputError, mismatch, printable
from ytf_torch.network.pixel_scale import RECORDED_AS
from ytf_torch.network.preprocessing import Preprocessing, preprocessing_of_record

FORMAT = "ytf-torch/3"
# For networks whose preprocessing is more than a pixel scale. A format of its own, so that versions
# that know only a pixel scale refuse the file instead of ignoring the preprocessing.
FOURTH_FORMAT = "ytf-torch/4"
# Older formats, which name the lab's network instead of storing a graph; the first has no history.
FIRST_FORMAT, SECOND_FORMAT = "ytf-torch/1", "ytf-torch/2"
FORMATS = (FORMAT, FOURTH_FORMAT, SECOND_FORMAT, FIRST_FORMAT)
# For the weights of a user-defined PyTorch module, for which no graph is known.
MODULE_FORMAT = "ytf-torch/module"
# The longest file name on common file systems.
MAX_NAME_LENGTH = 255
# Far more steps than are ever applied to one network; a longer history was not written here.
MAX_STEPS = 100
LEFT_OUT = "(earlier steps are left out here)"
# Key of the Origin in Keras files that this package writes: an attribute of the HDF5 root, or a key
# of metadata.json. Keras reads neither.
ORIGIN = "ytf_torch_origin"
# Keras files store the origin in an HDF5 attribute, which cannot exceed 64 kB.
MAX_ORIGIN_BYTES = 60_000


@dataclass(frozen=True)
class BakedMask:
    """The channels that were pruned in a model, and the layer at which they were ranked."""

    layer: str
    rank_at: str
    channels: tuple[int, ...]


@dataclass(frozen=True)
class Provenance:
    """Source, expected input and processing history of a converted model.

    preprocessing: applied to pixel values 0–255. input_shape: (channels, height, width).
    source_sha256: hash of the Keras file. mask: the last pruning, None for a model that was never
    pruned. history: all processing steps in order, one sentence each.

    >>> checkpoint.provenance.input_shape
    (3, 55, 47)
    >>> checkpoint.provenance.masked("conv_3", "pool_3", (4, 17)).history[-1]
    'pruned 2 channels of conv_3, ranked at pool_3'
    """

    preprocessing: Preprocessing
    input_shape: tuple[int, int, int]
    classes: int
    source_file: str
    source_sha256: str
    keras_version: str
    converter_version: str
    mask: BakedMask | None = None
    history: tuple[str, ...] = ()

    @property
    def pixel_scale(self) -> float:
        """Factor on pixel values 0–255; the largest one where channels have different scales."""
        return self.preprocessing.pixel_scale

    @property
    def record(self) -> dict[str, Any]:
        """JSON record, with the key `pixel_scale`, or `preprocessing` where it is more than a
        scale."""
        record: dict[str, Any] = TypeAdapter(Provenance).dump_python(self, mode="json")
        del record["preprocessing"]
        return self.preprocessing.record | record

    def masked(self, layer: str, rank_at: str, channels: tuple[int, ...]) -> Provenance:
        """The provenance of a copy in which these channels are masked in the weights."""
        mask = BakedMask(layer, rank_at, channels)
        return replace(self, mask=mask).then(mask_step(mask))

    def then(self, *steps: str) -> Provenance:
        """The provenance of a copy after further processing steps, one sentence each.

        Beyond MAX_STEPS, the first step and the most recent ones are kept.
        """
        history = (*self.history, *map(_step, steps))
        if len(history) > MAX_STEPS:
            history = (history[0], LEFT_OUT, *history[2 - MAX_STEPS :])
        return replace(self, history=history)


@dataclass(frozen=True)
class Origin:
    """The source file and history of a network, stored in the Keras files that this package writes,
    in a place that Keras does not read. See Provenance."""

    source_file: str
    source_sha256: str
    history: tuple[str, ...]


def origin_text(provenance: Provenance) -> str:
    """The origin as JSON; "" where it would exceed the size of an HDF5 attribute."""
    record = {field.name: getattr(provenance, field.name) for field in fields(Origin)}
    text = json.dumps(record, ensure_ascii=False)
    return text if len(text.encode()) <= MAX_ORIGIN_BYTES else ""


def origin_of(text: str | None) -> Origin | None:
    """The inverse of `origin_text`. None where the text is invalid: it is optional information, so
    it is no reason to refuse a file."""
    try:
        record = json.loads(text or "")
        origin = TypeAdapter(Origin).validate_python(record)
        _check_texts(origin, "")
    except (InputError, ValueError, RecursionError):  # pydantic's ValidationError is a ValueError
        return None
    return origin if origin.history else None


def tool_version() -> str:
    """The installed version of this package."""
    return version("ytf-torch")


def conversion_step(source_file: str, keras_version: str) -> str:
    """The first step of a history."""
    return f"converted from {source_file}, written by Keras {keras_version}"[:MAX_NAME_LENGTH]


def _step(sentence: str) -> str:
    """A step without unprintable characters and short enough to pass the checks on reading."""
    return printable(sentence)[:MAX_NAME_LENGTH]


def mask_step(mask: BakedMask) -> str:
    """The history step for a pruning."""
    count = len(mask.channels)
    channels = f"{count} channel{'' if count == 1 else 's'}"
    return f"pruned {channels} of {mask.layer}, ranked at {mask.rank_at}"


def to_metadata(provenance: Provenance, graph: list[dict[str, Any]]) -> dict[str, str]:
    """The metadata of a file: `format` as plain text, all other values as JSON. graph: the JSON
    record of the network's layers."""
    only_scales = provenance.preprocessing.only_scales
    return {
        "format": FORMAT if only_scales else FOURTH_FORMAT,
        "graph": json.dumps(graph),
        **{name: json.dumps(value) for name, value in provenance.record.items()},
    }


def from_metadata(metadata: Mapping[str, str], where: object) -> Provenance:
    """Read and validate what `to_metadata` wrote, in this or an older format.

    Raises InputError, naming the key, where one is missing or invalid.
    """
    if metadata.get("format") == MODULE_FORMAT:
        raise InputError(
            where,
            "the weights of a PyTorch module, without its layers",
            "In Python load them into the module, with safetensors.torch.load_file and "
            "load_state_dict, and give that to ytf_torch.wrap",
        )
    if metadata.get("format") not in FORMATS:
        raise mismatch(
            where,
            f"metadata of format {FORMAT}",
            repr(metadata.get("format")),
            "Write it with ytf-convert: without the pixel scale no figure can be trusted. Weights "
            "of a PyTorch module go into the module, and that goes into ytf_torch.wrap",
        )
    not_recorded = {"history"} if metadata["format"] == FIRST_FORMAT else set()
    record: dict[str, Any] = {}
    for name in [field.name for field in fields(Provenance) if field.name not in not_recorded]:
        scaled = name == "preprocessing" and metadata["format"] != FOURTH_FORMAT
        key = RECORDED_AS if scaled else name
        try:
            record[key] = json.loads(metadata[key])
        except (KeyError, ValueError, RecursionError) as error:
            raise mismatch(f"{where}, metadata {key}", "JSON", "none") from error
    preprocessing = preprocessing_of_record(record, f"{where}, metadata")
    record.pop(RECORDED_AS, None)
    try:
        provenance = TypeAdapter(Provenance).validate_python(
            record | {"preprocessing": preprocessing}
        )
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise InputError(f"{where}, metadata {place}", first["msg"]) from error
    _check_texts(provenance, where)
    _check_mask(provenance.mask, where)
    if not_recorded:
        return replace(provenance, history=_reconstructed_history(provenance))
    return provenance


def _reconstructed_history(provenance: Provenance) -> tuple[str, ...]:
    """The history of a file of the first format, derived from its other metadata."""
    converted = conversion_step(provenance.source_file, provenance.keras_version)
    return (converted, *([_step(mask_step(provenance.mask))] if provenance.mask else []))


def _check_mask(mask: BakedMask | None, where: object) -> None:
    """Raises InputError for layer names that are too long or not printable."""
    if mask is not None:
        _check_text(mask.layer, f"{where}, metadata mask.layer")
        _check_text(mask.rank_at, f"{where}, metadata mask.rank_at")


def _check_texts(record: Provenance | Origin, where: object) -> None:
    """Raises InputError for a text or a history that is too long, or not printable."""
    if len(record.history) > MAX_STEPS:
        found = f"{len(record.history):,}"
        raise mismatch(f"{where}, metadata history", f"at most {MAX_STEPS} steps", found)
    texts = {field.name: getattr(record, field.name) for field in fields(record)}
    texts |= {f"history[{index}]": step for index, step in enumerate(record.history)}
    for name, text in texts.items():
        if isinstance(text, str):
            _check_text(text, f"{where}, metadata {name}")


def _check_text(text: str, place: str) -> None:
    if len(text) > MAX_NAME_LENGTH or not text.isprintable():
        expected = f"at most {MAX_NAME_LENGTH} printable characters"
        raise mismatch(place, expected, repr(text[:40]))
