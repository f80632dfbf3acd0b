"""Where a network comes from, what it expects, and what was done to it: its file's metadata."""

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
# Of networks with more than a pixel scale. Another format, for versions that know only a scale
# would read such a network without its preprocessing; they refuse this one.
FOURTH_FORMAT = "ytf-torch/4"
# Of files that name the lab's network instead of holding its graph; the first tell no history.
FIRST_FORMAT, SECOND_FORMAT = "ytf-torch/1", "ytf-torch/2"
FORMATS = (FORMAT, FOURTH_FORMAT, SECOND_FORMAT, FIRST_FORMAT)
# Of the weights of a PyTorch module of the user's own, which no graph can be told of.
MODULE_FORMAT = "ytf-torch/module"
# The longest name that file systems allow.
MAX_NAME_LENGTH = 255
# Far more than anybody does to one network; a file that tells more was not written here.
MAX_STEPS = 100
LEFT_OUT = "(earlier steps are left out here)"
# Where a Keras file that is written here tells its origin, see Origin: an attribute of the root, or
# a key of metadata.json. Keras reads neither.
ORIGIN = "ytf_torch_origin"
# HDF5 holds no attribute of more than 64 kB, which is what Keras files carry an origin in.
MAX_ORIGIN_BYTES = 60_000


@dataclass(frozen=True)
class BakedMask:
    """The channels that were pruned from a model, and how they were chosen."""

    layer: str
    rank_at: str
    channels: tuple[int, ...]


@dataclass(frozen=True)
class Provenance:
    """Where a converted model comes from, what it expects, and what was done to it.

    preprocessing: what it reads of pixel values 0–255. input_shape: (3, height, width).
    source_sha256: of the Keras file. mask: what was pruned last, None for a model that never was.
    history: what was done to the network, step by step, a plain sentence each.

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
        """What pixel values 0–255 are multiplied by; the largest where channels have several."""
        return self.preprocessing.pixel_scale

    @property
    def record(self) -> dict[str, Any]:
        """As JSON: with the key `pixel_scale`, or `preprocessing` where it is more than a scale."""
        record: dict[str, Any] = TypeAdapter(Provenance).dump_python(self, mode="json")
        del record["preprocessing"]
        return self.preprocessing.record | record

    def masked(self, layer: str, rank_at: str, channels: tuple[int, ...]) -> Provenance:
        """The provenance of a copy with these channels baked to zero."""
        mask = BakedMask(layer, rank_at, channels)
        return replace(self, mask=mask).then(mask_step(mask))

    def then(self, *steps: str) -> Provenance:
        """The provenance of a copy to which this was done, one sentence a step.

        Of more steps than a file may have, the first and the last stay.
        """
        history = (*self.history, *map(_step, steps))
        if len(history) > MAX_STEPS:
            history = (history[0], LEFT_OUT, *history[2 - MAX_STEPS :])
        return replace(self, history=history)


@dataclass(frozen=True)
class Origin:
    """Which Keras file a network was made from, and how: what a Keras file that is written here
    carries in an attribute that Keras does not read. See Provenance."""

    source_file: str
    source_sha256: str
    history: tuple[str, ...]


def origin_text(provenance: Provenance) -> str:
    """What a Keras file carries, as JSON; "" where it would be longer than its attribute may be."""
    record = {field.name: getattr(provenance, field.name) for field in fields(Origin)}
    text = json.dumps(record, ensure_ascii=False)
    return text if len(text.encode()) <= MAX_ORIGIN_BYTES else ""


def origin_of(text: str | None) -> Origin | None:
    """What `origin_text` wrote. None for anything else: Keras does not read it either, so it is no
    reason to refuse a file."""
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
    """How a history begins."""
    return f"converted from {source_file}, written by Keras {keras_version}"[:MAX_NAME_LENGTH]


def _step(sentence: str) -> str:
    """A step as it can be read back."""
    return printable(sentence)[:MAX_NAME_LENGTH]


def mask_step(mask: BakedMask) -> str:
    """Pruning as a step of a history."""
    count = len(mask.channels)
    channels = f"{count} channel{'' if count == 1 else 's'}"
    return f"pruned {channels} of {mask.layer}, ranked at {mask.rank_at}"


def to_metadata(provenance: Provenance, graph: list[dict[str, Any]]) -> dict[str, str]:
    """A file's metadata, each value JSON but for the format. graph: the network's layers."""
    only_scales = provenance.preprocessing.only_scales
    return {
        "format": FORMAT if only_scales else FOURTH_FORMAT,
        "graph": json.dumps(graph),
        **{name: json.dumps(value) for name, value in provenance.record.items()},
    }


def from_metadata(metadata: Mapping[str, str], where: object) -> Provenance:
    """What `to_metadata` wrote, of this format or of an older one, checked.

    Raises InputError, naming the key, where one is missing or holds what it must not.
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
    older = {"history"} if metadata["format"] == FIRST_FORMAT else set()
    record: dict[str, Any] = {}
    for name in [field.name for field in fields(Provenance) if field.name not in older]:
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
    if older:
        return replace(provenance, history=_history_told_by_the_rest(provenance))
    return provenance


def _history_told_by_the_rest(provenance: Provenance) -> tuple[str, ...]:
    converted = conversion_step(provenance.source_file, provenance.keras_version)
    return (converted, *([_step(mask_step(provenance.mask))] if provenance.mask else []))


def _check_mask(mask: BakedMask | None, where: object) -> None:
    """Raises InputError for names that no layer of ours has, and that a history could not hold."""
    if mask is not None:
        _check_text(mask.layer, f"{where}, metadata mask.layer")
        _check_text(mask.rank_at, f"{where}, metadata mask.rank_at")


def _check_texts(told: Provenance | Origin, where: object) -> None:
    """Raises InputError for a text or a history that is too long, or not printable."""
    if len(told.history) > MAX_STEPS:
        found = f"{len(told.history):,}"
        raise mismatch(f"{where}, metadata history", f"at most {MAX_STEPS} steps", found)
    texts = {field.name: getattr(told, field.name) for field in fields(told)}
    texts |= {f"history[{place}]": step for place, step in enumerate(told.history)}
    for name, text in texts.items():
        if isinstance(text, str):
            _check_text(text, f"{where}, metadata {name}")


def _check_text(text: str, place: str) -> None:
    if len(text) > MAX_NAME_LENGTH or not text.isprintable():
        expected = f"at most {MAX_NAME_LENGTH} printable characters"
        raise mismatch(place, expected, repr(text[:40]))
