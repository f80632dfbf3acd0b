"""Preprocessing of pixel values 0–255 before the first layer. It is part of the network.

Channels are first put into the network's order; then each is pixel · scale + offset. A pixel scale
is the short form: `--pixel-scale 1/255` is `Preprocessing(scale=1 / 255)`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal, get_args

from ytf_torch.errors import InputError, argument, mismatch, printable
from ytf_torch.network.pixel_scale import (
    RECORDED_AS,
    check_pixel_scale,
    number_of,
    parse_pixel_scale,
    pixel_scale_text,
)

ChannelOrder = Literal["rgb", "bgr"]
Numbers = float | tuple[float, ...]
COLOURS = 3
FORM = """scale, offset and channel_order such as {"scale": "1/127.5", "offset": -1}"""


def _shortest(numbers: Any) -> Numbers:  # noqa: ANN401
    """A tuple of floats; a single float where all channels have the same."""
    try:
        values = tuple(float(value) + 0.0 for value in _each(numbers))  # + 0.0 turns −0.0 into 0.0
    except (TypeError, ValueError, OverflowError):
        values = ()
    if not values:
        expected = "a number, or one for each channel"
        raise mismatch(argument("preprocessing"), expected, numbers)
    return values[0] if len(set(values)) == 1 else values


def _each(numbers: Any, channels: int = 1) -> tuple[Any, ...]:  # noqa: ANN401
    """One number per channel: a single number is repeated."""
    return tuple(numbers) if isinstance(numbers, list | tuple) else (numbers,) * channels


def _times(numbers: Numbers, factor: float) -> Numbers:
    products = tuple(number * factor for number in _each(numbers))
    return products if isinstance(numbers, tuple) else products[0]


@dataclass(frozen=True)
class Preprocessing:
    """Preprocessing of pixel values 0–255: pixel · scale + offset, per channel.

    scale, offset: one number for all channels, or one per channel in the network's channel order.
    channel_order: "rgb" or "bgr", the order that the network expects; input images are always RGB.
    Raises InputError for a scale that is not above 0, for numbers that are not finite, and for
    another channel order.

    >>> from ytf_torch.network.preprocessing import KERAS_MODES, Preprocessing
    >>> Preprocessing(scale=1 / 127.5, offset=-1) == KERAS_MODES["tf"]
    True
    >>> Preprocessing((0.5, 0.5, 0.5))
    Preprocessing(scale=0.5, offset=0.0, channel_order='rgb')
    """

    scale: Numbers = 1.0
    offset: Numbers = 0.0
    channel_order: ChannelOrder = "rgb"

    def __post_init__(self) -> None:
        for name in ("scale", "offset"):
            object.__setattr__(self, name, _shortest(getattr(self, name)))
        for scale in _each(self.scale):
            check_pixel_scale(scale, argument("preprocessing"))
        if not all(map(math.isfinite, _each(self.offset))):
            raise mismatch(argument("preprocessing"), "a finite offset", self.offset)
        if self.channel_order not in get_args(ChannelOrder):
            expected = f"a channel_order of {' or '.join(get_args(ChannelOrder))}"
            raise mismatch(argument("preprocessing"), expected, self.channel_order)

    @property
    def only_scales(self) -> bool:
        """Whether this is only a pixel scale: one factor, no offset, RGB."""
        same_order = self.channel_order == "rgb"
        return isinstance(self.scale, float) and self.offset == 0 and same_order

    @property
    def pixel_scale(self) -> float:
        """The scale; the largest one where channels differ."""
        return float(max(_each(self.scale)))

    def at(self, pixel_scale: float) -> Preprocessing:
        """This preprocessing with scales and offsets multiplied by a common factor, so that its
        `pixel_scale` is the given one."""
        if pixel_scale == self.pixel_scale:
            return self
        if self.only_scales:
            return Preprocessing(pixel_scale)
        factor = pixel_scale / self.pixel_scale
        scale, offset = (_times(numbers, factor) for numbers in (self.scale, self.offset))
        return replace(self, scale=scale, offset=offset)

    def fits(self, channels: int) -> bool:
        """Whether this preprocessing fits images of this number of channels."""
        counts = (len(value) for value in (self.scale, self.offset) if isinstance(value, tuple))
        ordered = self.channel_order == "rgb" or channels == COLOURS
        return ordered and all(count == channels for count in counts)

    def check_fits(self, channels: int, where: object) -> None:
        """Raises InputError where this preprocessing does not fit images of this number of
        channels.

        where: what to name in the error.
        """
        if self.fits(channels):
            return
        for name in ("scale", "offset"):
            numbers = getattr(self, name)
            if isinstance(numbers, tuple) and len(numbers) != channels:
                expected = f"one {name}, or one for each of {channels} channels"
                raise mismatch(f"{where}, preprocessing", expected, len(numbers))
        expected = f"images of {COLOURS} channels for the order bgr"
        raise mismatch(f"{where}, preprocessing", expected, channels)

    def of_channels(self, channels: Sequence[Any]) -> list[Any]:
        """Preprocess each channel.

        channels: floating-point arrays or tensors in RGB order, pixel values 0–255. Returns them in
        the network's channel order. Divides by 1 / scale instead of multiplying, as Keras's
        preprocess_input does in mode "tf", so that rounding is identical.
        """
        ordered = channels if self.channel_order == "rgb" else channels[::-1]
        scales, offsets = (_each(numbers, len(channels)) for numbers in (self.scale, self.offset))
        preprocessed = []
        for channel, scale, offset in zip(ordered, scales, offsets, strict=True):
            scaled = channel if scale == 1 else channel / (1 / scale)
            preprocessed.append(scaled + offset if offset else scaled)
        return preprocessed

    @property
    def text(self) -> str:
        """The shortest text from which `parse_preprocessing` restores it exactly."""
        if self.only_scales:
            return pixel_scale_text(self.pixel_scale)
        named = (name for name, known in KERAS_MODES.items() if known == self)
        return next(named, None) or json.dumps(asdict(self))

    @property
    def name(self) -> str:
        """The noun for it in messages."""
        return "pixel scale" if self.only_scales else "preprocessing"

    @property
    def words(self) -> str:
        """Noun and value for messages, such as "pixel scale 1/255"."""
        return f"{self.name} {self.text}"

    @property
    def instruction(self) -> str:
        """How a caller must preprocess pixel values for a file that does not do it itself."""
        if self.only_scales:
            return f"multiply pixel values by {self.text}"
        named = self.text in KERAS_MODES
        by = f"preprocess_input of mode {self.text}" if named else self.text
        return f"preprocess pixel values by {by}"

    @property
    def record(self) -> dict[str, Any]:
        """JSON record; a mere pixel scale keeps the key of older formats."""
        if self.only_scales:
            return {RECORDED_AS: self.pixel_scale}
        numbers = {name: _json(getattr(self, name)) for name in ("scale", "offset")}
        return {"preprocessing": numbers | {"channel_order": self.channel_order}}

    @property
    def asked_by(self) -> tuple[str, str]:
        """The argument with which a user requests it, and its value as text."""
        return ("pixel_scale" if self.only_scales else "preprocessing"), self.text


RAW = Preprocessing()
"""No preprocessing: raw pixel values, as the lab's networks expect. The default for Keras files."""
# keras/src/applications/imagenet_utils.py, _preprocess_numpy_input: means and standard deviations
# of ImageNet's channels. The offsets of caffe are in its order, blue first.
MEANS, DEVIATIONS = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
KERAS_MODES = {
    "tf": Preprocessing(1 / 127.5, -1.0),
    "caffe": Preprocessing(1.0, (-103.939, -116.779, -123.68), "bgr"),
    "torch": Preprocessing(
        tuple(1 / (255 * deviation) for deviation in DEVIATIONS),
        tuple(-mean / deviation for mean, deviation in zip(MEANS, DEVIATIONS, strict=True)),
    ),
}
"""The modes of preprocess_input in keras.applications, by their Keras names."""


def preprocessing_of(value: Preprocessing | float) -> Preprocessing:
    """The preprocessing itself, or that of a pixel scale. Raises InputError for a bad scale."""
    if isinstance(value, Preprocessing):
        return value
    check_pixel_scale(value, argument("pixel_scale"))
    return Preprocessing(value)


def asked_preprocessing(pixel_scale: object, preprocessing: object) -> Preprocessing | None:
    """The preprocessing that a user requests; None if both arguments are None.

    pixel_scale: such as 1/255. preprocessing: in any form that `preprocessing_from` accepts.
    Raises InputError where both are given, or one is invalid.
    """
    if pixel_scale is not None and preprocessing is not None:
        short = f"{argument('pixel_scale')} is short for {argument('preprocessing')}"
        raise InputError(short, "expected one of them, found both", "Leave one out")
    if pixel_scale is not None:
        return Preprocessing(parse_pixel_scale(str(pixel_scale)))
    return None if preprocessing is None else preprocessing_from(preprocessing)


def preprocessing_from(value: object) -> Preprocessing:
    """Read a Preprocessing, its text, or a mapping of its fields. Raises InputError otherwise."""
    if isinstance(value, Preprocessing):
        return value
    if isinstance(value, str):
        return parse_preprocessing(value)
    return _of_settings(value, argument("preprocessing"))


def parse_preprocessing(text: str) -> Preprocessing:
    """Parse a preprocessing such as "tf" or '{"scale": "1/127.5", "offset": -1}', or a pixel scale.

    Raises InputError for anything else.

    >>> from ytf_torch.network.preprocessing import parse_preprocessing
    >>> parse_preprocessing('{"scale": [1, 1, "1/2"], "channel_order": "bgr"}')
    Preprocessing(scale=(1.0, 1.0, 0.5), offset=0.0, channel_order='bgr')
    """
    if text.strip() in KERAS_MODES:
        return KERAS_MODES[text.strip()]
    where = argument("preprocessing")
    if text.lstrip().startswith("{"):
        try:
            return _of_settings(json.loads(text), where)
        except (ValueError, RecursionError) as error:
            raise mismatch(where, FORM, repr(text[:80])) from error
    try:
        return Preprocessing(parse_pixel_scale(text))
    except InputError as error:
        expected = f"{', '.join(KERAS_MODES)} or {FORM}"
        raise mismatch(where, expected, repr(printable(text[:80]))) from error


def recorded_preprocessing(text: str | None, where: str) -> Preprocessing | None:
    """The preprocessing that a file records; None where it records none.

    where: place in the file, for errors. Raises InputError where the record is invalid.
    """
    if text is None:
        return None
    try:
        return parse_preprocessing(text)
    except InputError:
        expected = "a pixel scale such as 1 or 1/255, or a preprocessing, as ytf-torch records it"
        raise mismatch(where, expected, repr(printable(text[:40]))) from None


def preprocessing_of_record(record: Mapping[str, Any], where: object) -> Preprocessing:
    """The inverse of `Preprocessing.record`. Raises InputError where the record is invalid."""
    if "preprocessing" in record:
        return _of_settings(record["preprocessing"], f"{where} preprocessing")
    scale = _number(record[RECORDED_AS], f"{where} {RECORDED_AS}")
    check_pixel_scale(scale, f"{where} {RECORDED_AS}")
    return Preprocessing(scale)


def _of_settings(settings: object, where: str) -> Preprocessing:
    field_names = [field.name for field in fields(Preprocessing)]
    if not isinstance(settings, Mapping) or not settings:
        raise mismatch(where, f"{', '.join(KERAS_MODES)} or {FORM}", settings or "nothing")
    for name in settings:
        if name not in field_names:
            raise mismatch(where, f"of {', '.join(field_names)}", repr(name)[:80])
    numbers = {
        name: _numbers(settings[name], where) for name in field_names[:2] if name in settings
    }
    order = settings.get("channel_order", "rgb")
    try:
        return Preprocessing(**numbers, channel_order=order)
    except InputError as error:
        _, problem, remedy = error.args
        raise InputError(where, problem, remedy) from None


def _numbers(value: object, where: str) -> Numbers:
    """A number or a list of numbers from text, TOML or JSON."""
    if isinstance(value, list | tuple) and value:
        return tuple(_number(item, where) for item in value)
    return _number(value, where)


def _number(value: object, where: str) -> float:
    try:
        if not isinstance(value, bool):
            return number_of(str(value))
    except (ValueError, ZeroDivisionError, OverflowError, RecursionError):
        pass
    raise mismatch(where, "a number such as 1, -103.939 or 1/255", value)


def _json(numbers: Numbers) -> float | list[float]:
    return list(numbers) if isinstance(numbers, tuple) else numbers
