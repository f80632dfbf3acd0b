"""Preprocessing: what a network reads of pixel values 0–255. It is part of the network.

Each channel is pixel · scale + offset, once the channels are in the network's order. A pixel scale
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
    """One number, where all channels have the same one; 0 without a sign."""
    try:
        each = tuple(float(one) + 0.0 for one in _each(numbers))
    except (TypeError, ValueError, OverflowError):
        each = ()
    if not each:
        expected = "a number, or one for each channel"
        raise mismatch(argument("preprocessing"), expected, numbers)
    return each[0] if len(set(each)) == 1 else each


def _each(numbers: Any, channels: int = 1) -> tuple[Any, ...]:  # noqa: ANN401
    """A number for each channel."""
    return tuple(numbers) if isinstance(numbers, list | tuple) else (numbers,) * channels


def _times(numbers: Numbers, factor: float) -> Numbers:
    each = tuple(number * factor for number in _each(numbers))
    return each if isinstance(numbers, tuple) else each[0]


@dataclass(frozen=True)
class Preprocessing:
    """What a network reads of pixel values 0–255: pixel · scale + offset in each channel.

    scale, offset: one number for all channels, or one for each in the order in which the network
    reads them. channel_order: of the network; images are always RGB before it.
    Raises InputError for a scale that is not above 0, numbers that are not finite, another order.

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
        """Whether it is a pixel scale and nothing else."""
        same_order = self.channel_order == "rgb"
        return isinstance(self.scale, float) and self.offset == 0 and same_order

    @property
    def pixel_scale(self) -> float:
        """Its scale, the largest of several."""
        return float(max(_each(self.scale)))

    def at(self, pixel_scale: float) -> Preprocessing:
        """The same, multiplied as a whole so that its scale, the largest of several, is this."""
        if pixel_scale == self.pixel_scale:
            return self
        if self.only_scales:
            return Preprocessing(pixel_scale)
        factor = pixel_scale / self.pixel_scale
        scale, offset = (_times(numbers, factor) for numbers in (self.scale, self.offset))
        return replace(self, scale=scale, offset=offset)

    def fits(self, channels: int) -> bool:
        """Whether a network of so many channels can have it."""
        each = (len(one) for one in (self.scale, self.offset) if isinstance(one, tuple))
        ordered = self.channel_order == "rgb" or channels == COLOURS
        return ordered and all(count == channels for count in each)

    def check_fits(self, channels: int, where: object) -> None:
        """Raises InputError where a network of so many channels cannot have it."""
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
        """What a network reads of each channel: arrays or tensors of floating point, in its order.

        Divides, as Keras's preprocess_input does for mode tf, so that both round alike.
        """
        ordered = channels if self.channel_order == "rgb" else channels[::-1]
        scales, offsets = (_each(numbers, len(channels)) for numbers in (self.scale, self.offset))
        read = []
        for channel, scale, offset in zip(ordered, scales, offsets, strict=True):
            scaled = channel if scale == 1 else channel / (1 / scale)
            read.append(scaled + offset if offset else scaled)
        return read

    @property
    def text(self) -> str:
        """As it is best written; `parse_preprocessing` gives exactly it back."""
        if self.only_scales:
            return pixel_scale_text(self.pixel_scale)
        named = (name for name, known in KERAS_MODES.items() if known == self)
        return next(named, None) or json.dumps(asdict(self))

    @property
    def name(self) -> str:
        """What messages call it."""
        return "pixel scale" if self.only_scales else "preprocessing"

    @property
    def words(self) -> str:
        """What messages call it, and its text."""
        return f"{self.name} {self.text}"

    @property
    def instruction(self) -> str:
        """What to do with pixel values before a file that leaves it to the caller reads them."""
        if self.only_scales:
            return f"multiply pixel values by {self.text}"
        named = self.text in KERAS_MODES
        by = f"preprocess_input of mode {self.text}" if named else self.text
        return f"preprocess pixel values by {by}"

    @property
    def record(self) -> dict[str, Any]:
        """As JSON, in the records of networks: a pixel scale as ever."""
        if self.only_scales:
            return {RECORDED_AS: self.pixel_scale}
        numbers = {name: _json(getattr(self, name)) for name in ("scale", "offset")}
        return {"preprocessing": numbers | {"channel_order": self.channel_order}}

    @property
    def asked_by(self) -> tuple[str, str]:
        """The argument that asks for it, and its value as text."""
        return ("pixel_scale" if self.only_scales else "preprocessing"), self.text


RAW = Preprocessing()
"""Raw pixels, as the lab's networks take: of a Keras file of which nothing is known."""
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
"""What the preprocess_input of Keras's applications does, by its own names."""


def preprocessing_of(given: Preprocessing | float) -> Preprocessing:
    """A preprocessing, for which a pixel scale is short."""
    if isinstance(given, Preprocessing):
        return given
    check_pixel_scale(given, argument("pixel_scale"))
    return Preprocessing(given)


def asked_preprocessing(pixel_scale: object, preprocessing: object) -> Preprocessing | None:
    """What a user asks for: a pixel scale such as 1/255, or a preprocessing in any of its forms;
    None where neither is given. Raises InputError where both are, or it is none."""
    if pixel_scale is not None and preprocessing is not None:
        short = f"{argument('pixel_scale')} is short for {argument('preprocessing')}"
        raise InputError(short, "expected one of them, found both", "Leave one out")
    if pixel_scale is not None:
        return Preprocessing(parse_pixel_scale(str(pixel_scale)))
    return None if preprocessing is None else preprocessing_from(preprocessing)


def preprocessing_from(given: object) -> Preprocessing:
    """A preprocessing, its text, or its settings by name. Raises InputError for anything else."""
    if isinstance(given, Preprocessing):
        return given
    if isinstance(given, str):
        return parse_preprocessing(given)
    return _of_settings(given, argument("preprocessing"))


def parse_preprocessing(text: str) -> Preprocessing:
    """A preprocessing such as "tf" or '{"scale": "1/127.5", "offset": -1}'; or a pixel scale.

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
    """The preprocessing that a file records, None where it records none. where: in the file.

    Raises InputError where what it records is none.
    """
    if text is None:
        return None
    try:
        return parse_preprocessing(text)
    except InputError:
        expected = "a pixel scale such as 1 or 1/255, or a preprocessing, as ytf-torch records it"
        raise mismatch(where, expected, repr(printable(text[:40]))) from None


def preprocessing_of_record(record: Mapping[str, Any], where: object) -> Preprocessing:
    """What `Preprocessing.record` holds. Raises InputError for anything else."""
    if "preprocessing" in record:
        return _of_settings(record["preprocessing"], f"{where} preprocessing")
    scale = _number(record[RECORDED_AS], f"{where} {RECORDED_AS}")
    check_pixel_scale(scale, f"{where} {RECORDED_AS}")
    return Preprocessing(scale)


def _of_settings(settings: object, where: str) -> Preprocessing:
    known = [field.name for field in fields(Preprocessing)]
    if not isinstance(settings, Mapping) or not settings:
        raise mismatch(where, f"{', '.join(KERAS_MODES)} or {FORM}", settings or "nothing")
    for name in settings:
        if name not in known:
            raise mismatch(where, f"of {', '.join(known)}", repr(name)[:80])
    numbers = {name: _numbers(settings[name], where) for name in known[:2] if name in settings}
    order = settings.get("channel_order", "rgb")
    try:
        return Preprocessing(**numbers, channel_order=order)
    except InputError as error:
        _, problem, remedy = error.args
        raise InputError(where, problem, remedy) from None


def _numbers(given: object, where: str) -> Numbers:
    """Numbers as text, TOML and JSON give them."""
    if isinstance(given, list | tuple) and given:
        return tuple(_number(one, where) for one in given)
    return _number(given, where)


def _number(given: object, where: str) -> float:
    try:
        if not isinstance(given, bool):
            return number_of(str(given))
    except (ValueError, ZeroDivisionError, OverflowError, RecursionError):
        pass
    raise mismatch(where, "a number such as 1, -103.939 or 1/255", given)


def _json(numbers: Numbers) -> float | list[float]:
    return list(numbers) if isinstance(numbers, tuple) else numbers
