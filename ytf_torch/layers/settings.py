"""Reads a layer's settings from its Keras configuration: by name, and none is ignored silently.

A missing setting has Keras's default. A setting that was not read is refused by name, unless it
has no effect on inference.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from ytf_torch.errors import InputError, mismatch

Choice = TypeVar("Choice")
Config = dict[str, Any]

# Settings without effect on a layer's output: names, training, how the file was saved. The dtype
# policy is checked for the whole network, the input shape by the input layer.
NO_EFFECT = frozenset(
    {
        *("name", "trainable", "dtype", "batch_input_shape", "batch_shape", "build_config"),
        *("kernel_initializer", "bias_initializer", "depthwise_initializer", "beta_initializer"),
        *("pointwise_initializer", "gamma_initializer", "moving_mean_initializer", "init"),
        *("moving_variance_initializer", "alpha_initializer", "kernel_regularizer"),
        *("bias_regularizer", "activity_regularizer", "depthwise_regularizer", "beta_regularizer"),
        *("pointwise_regularizer", "gamma_regularizer", "alpha_regularizer", "kernel_constraint"),
        *("bias_constraint", "depthwise_constraint", "pointwise_constraint", "beta_constraint"),
        *("gamma_constraint", "alpha_constraint", "rank", "input_dtype", "seed", "input_spec"),
    }
)
LARGEST = 2**31


class Settings:
    """The settings of one layer, with a record of which have been read.

    >>> settings = Settings({"name": "pool_1", "strides": 2}, "net.h5, pool_1")
    >>> settings.pair("pool_size", (2, 2)), settings.pair("strides", (2, 2))
    ((2, 2), (2, 2))
    >>> settings.finish()
    """

    def __init__(self, config: Mapping[str, Any], where: object) -> None:
        self.config, self.where = config, where
        self._read: set[str] = set()

    def get(self, name: str, default: object = None) -> Any:  # noqa: ANN401
        """A setting of any type; `default` if it is missing."""
        self._read.add(name)
        return self.config.get(name, default)

    def integer(self, name: str, default: int | None = None, least: int = 1) -> int:
        """A whole number of at least `least`. Without a default the setting is required."""
        value = self.get(name, default)
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value < LARGEST:
            raise self.wrong(name, f"a whole number from {least} on", value)
        return value

    def number(self, name: str, default: float | None = None, least: float | None = None) -> float:
        """A finite number of at least `least`. Keras 3 may write it as an array of length 1, Keras
        2.2 as an object."""
        value = self.get(name, default)
        if isinstance(value, Mapping) and "value" in value:
            value = value["value"]
        if isinstance(value, list) and len(value) == 1:
            value = value[0]
        if not is_number(value) or (least is not None and value < least):
            expected = "a number" if least is None else f"a number from {least} on"
            raise self.wrong(name, expected, value)
        return float(value)

    def numbers(self, name: str, channels: int, default: float | None = None) -> tuple[float, ...]:
        """One finite number, or one for each channel. Keras may nest them in lists of length 1, and
        Keras 3 writes arrays as objects."""
        value = self.get(name, default)
        if isinstance(value, Mapping) and value.get("class_name") == "__numpy__":
            config = value.get("config")
            value = config.get("value") if isinstance(config, Mapping) else None
        while isinstance(value, list) and len(value) == 1 and isinstance(value[0], list):
            value = value[0]
        numbers = value if isinstance(value, list) else [value]
        if len(numbers) not in (1, channels) or not all(map(is_number, numbers)):
            raise self.wrong(name, f"one number, or {channels}", value)
        return tuple(float(number) for number in numbers)

    def boolean(self, name: str, default: bool) -> bool:
        """True or False."""
        value = self.get(name, default)
        if not isinstance(value, bool):
            raise self.wrong(name, "true or false", value)
        return value

    def pair(self, name: str, default: tuple[int, int] | None, least: int = 1) -> tuple[int, int]:
        """(height, width), which Keras may write as one number."""
        value = self.get(name, default)
        if isinstance(value, int) and not isinstance(value, bool):
            value = (value, value)
        if not (isinstance(value, list | tuple) and len(value) == 2):
            raise self.wrong(name, "two whole numbers", value)
        for part in value:
            if not isinstance(part, int) or isinstance(part, bool) or not least <= part < LARGEST:
                raise self.wrong(name, f"two whole numbers from {least} on", value)
        return (value[0], value[1])

    def choice(self, name: str, choices: Sequence[Choice], default: Choice) -> Choice:
        """One of `choices`."""
        value = self.get(name, default)
        for choice in choices:
            # In Python True == 1, but not in JSON.
            if value == choice and isinstance(value, bool) == isinstance(choice, bool):
                return choice
        raise self.wrong(name, " or ".join(str(choice) for choice in choices), value)

    def channels_last(self) -> None:
        """Raises InputError for channels_first, which would permute kernels and Flatten's order."""
        value = self.get("data_format")
        if value not in (None, "channels_last"):
            remedy = "Build the network with data_format='channels_last', load the weights into it"
            raise mismatch(f"{self.where}, data_format", "channels_last", str(value)[:80], remedy)

    def finish(self) -> None:
        """Raises InputError for a setting that has not been read and is not null."""
        for name, value in self.config.items():
            if name in self._read or name in NO_EFFECT or value is None:
                continue
            expected = "a setting that ytf-torch knows"
            raise mismatch(f"{self.where}, {name}", expected, str(value)[:80])

    def wrong(self, name: str, expected: str, found: object) -> InputError:
        """The error for a setting with another value than expected."""
        return mismatch(f"{self.where}, {name}", expected, str(found)[:80])


def is_number(value: object) -> bool:
    """Whether a JSON value is a finite number (not true or false, which Python counts as ints)."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return abs(value) < 1e300
