"""Settings of a pruning run: configs/*.toml and the command line, checked as one."""

from __future__ import annotations

import codecs
import os
import re
import tomllib
from collections.abc import Mapping
from contextlib import suppress
from difflib import get_close_matches
from os.path import exists
from pathlib import Path
from typing import TYPE_CHECKING, Literal
from urllib.parse import quote, unquote_to_bytes

import tomli_w
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from ytf_torch.device import DeviceName
from ytf_torch.disk.reading import checked_file
from ytf_torch.errors import InputError, argument, mismatch
from ytf_torch.network.pixel_scale import parse_pixel_scale
from ytf_torch.network.preprocessing import (
    Preprocessing,
    asked_preprocessing,
    preprocessing_from,
)
from ytf_torch.network.pruned_layer import pruned_at
from ytf_torch.sweep.drop import parse_drops
from ytf_torch.sweep.order import Direction

if TYPE_CHECKING:  # which loads PyTorch, and flags are checked before that
    from ytf_torch.network.graph import Graph

# Ours have 2 kB with all their comments; long dotted keys take tomllib quadratic time.
MAX_CONFIG_BYTES = 2**14
BACKSLASHES = (
    r"Write a path of Windows in single quotes, 'C:\Users\me\bd_net.h5', or with forward slashes"
)
URI = "file://"
# One is short for the other.
READING = {"pixel_scale", "preprocessing"}
PATHS = {"model", "clean_valid", "clean_test", "poisoned_test", "out"}
# Each drop writes a model, each triggered set is swept.
MAX_DROPS, MAX_POISONED_TESTS = 20, 20


class PruneSettings(BaseModel):
    """Everything that decides a pruning run."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)

    model: Path
    clean_valid: Path
    clean_test: Path | None = None
    poisoned_test: tuple[Path, ...] = ()
    target: int | None = Field(default=None, ge=0)
    out: Path
    drops: tuple[str, ...] = ("2", "4", "10")
    layer: str | None = None
    rank_at: str | None = None
    order: Direction = "ascending"
    device: DeviceName = "auto"
    engine: Literal["fast", "plain"] = "fast"
    precision: Literal["float32", "float64"] | None = None
    pixel_scale: float | None = None
    preprocessing: Preprocessing | None = None
    keras: bool = False
    pdf: bool = False

    @property
    def files(self) -> tuple[Path, ...]:
        """Every file that the run reads."""
        sets = (self.clean_valid, self.clean_test, *self.poisoned_test)
        return (self.model, *(path for path in sets if path is not None))

    @property
    def asked(self) -> Preprocessing | None:
        """What the network reads of pixel values, where it is said."""
        return asked_preprocessing(self.pixel_scale, self.preprocessing)

    @model_validator(mode="after")
    def _one_of_both(self) -> PruneSettings:
        asked_preprocessing(self.pixel_scale, self.preprocessing)
        return self

    @field_validator("model", "clean_valid", "clean_test", "out")
    @classmethod
    def _path(cls, path: Path | None) -> Path | None:
        return None if path is None else from_home(path)

    @field_validator("poisoned_test")
    @classmethod
    def _paths(cls, paths: tuple[Path, ...]) -> tuple[Path, ...]:
        return tuple(map(from_home, paths))

    @field_validator("pixel_scale", mode="before")
    @classmethod
    def _pixel_scale(cls, value: object) -> float | None:
        return None if value is None else parse_pixel_scale(str(value))

    @field_validator("preprocessing", mode="before")
    @classmethod
    def _preprocessing(cls, value: object) -> Preprocessing | None:
        return None if value is None else preprocessing_from(value)

    @field_validator("poisoned_test", mode="before")
    @classmethod
    def _poisoned_test(cls, value: object) -> object:
        paths = (value,) if isinstance(value, str | Path) else value
        if not isinstance(paths, list | tuple):
            problem = f"expected a path or a list of them, found {value}"
            raise InputError(argument("poisoned_test"), problem)
        if len(paths) > MAX_POISONED_TESTS:
            expected = f"at most {MAX_POISONED_TESTS} sets"
            raise mismatch(argument("poisoned_test"), expected, len(paths))
        return paths

    @field_validator("drops", mode="before")
    @classmethod
    def _drops(cls, value: object) -> tuple[str, ...]:
        parts = value.split(",") if isinstance(value, str) else value
        if not isinstance(parts, list | tuple) or not parts:
            raise InputError(argument("drops"), "expected percentage points such as 2,4,10")
        if len(parts) > MAX_DROPS:
            raise mismatch(argument("drops"), f"at most {MAX_DROPS} of them", len(parts))
        return tuple(parse_drops(parts))

    def of_network(self, graph: Graph) -> PruneSettings:
        """The settings with the layer that is pruned and where it is ranked, which a network
        decides where they are left out. Raises InputError where it has none of these names."""
        layer, rank_at = pruned_at(graph, self.layer, self.rank_at)
        return self.model_copy(update={"layer": layer, "rank_at": rank_at})


def from_home(path: Path) -> Path:
    """`path` with a leading ~ replaced by the home folder, as a shell does it."""
    try:
        return path.expanduser()
    except RuntimeError as error:  # ~name, and no such user
        raise InputError(path, f"no home folder is known for {path.parts[0]}") from error


def read_settings(config: Path | None, flags: Mapping[str, object]) -> PruneSettings:
    """A configuration file, with flags that were given (not None) on top.

    Paths in it are relative to the working folder, as on the command line; a leading ~ is the home
    folder. Raises InputError naming the key and what it may be.
    """
    given = {key: value for key, value in flags.items() if value not in (None, [], ())}
    values: dict[str, object] = {} if config is None else _read_toml(config)
    if READING & given.keys():
        values = {key: value for key, value in values.items() if key not in READING}
    settings = checked_settings(values | given, config)
    if config is not None:
        _check_working_folder(config, settings, set(values) - set(given))
    return settings


def checked_settings(values: Mapping[str, object], config: Path | None = None) -> PruneSettings:
    """Settings by name, checked. config: the file that they are from, to name in errors.

    Raises InputError naming the key, or the argument where there is no file, and what it may be.
    """
    try:
        return PruneSettings.model_validate(values)
    except ValidationError as error:
        raise _setting_error(config, error) from error


def _setting_error(config: Path | None, error: ValidationError) -> InputError:
    """What to say of the first error; of an unknown key first, for it may be a missing one."""
    place = "command line" if config is None else str(config)
    first = min(error.errors(), key=lambda found: found["type"] != "extra_forbidden")
    key = str(first["loc"][0]) if first["loc"] else "settings"
    if first["type"] == "extra_forbidden":
        near = get_close_matches(key, PruneSettings.model_fields, 1)
        known = ", ".join(PruneSettings.model_fields)
        hint = f"Did you mean {near[0]}?" if near else f"Expected one of {known}"
        return InputError(place, f"unknown key {key}", hint)
    if first["type"] == "missing":
        remedy = f"Give it, or set {key} in a file and give that as {argument('config')}"
        return InputError(place, f"{argument(key)} is missing", remedy)
    where = argument(key) if config is None else f"{config}, {key}"
    found = str(first["input"])[:80]
    if first["type"] == "literal_error":
        return mismatch(where, first["ctx"]["expected"], found)
    return InputError(where, f"{first['msg']}; found {found}")


def _check_working_folder(config: Path, settings: PruneSettings, keys: set[str]) -> None:
    """Raises InputError where a file is beside the configuration, not in the working folder.

    keys: those settings that the configuration decides.
    """
    for key in ("model", "clean_valid", "clean_test", "poisoned_test"):
        value = getattr(settings, key) if key in keys else None
        for path in value if isinstance(value, tuple) else (value,):
            # Path.exists raises where a folder may not be entered.
            if path is not None and not exists(path) and exists(config.parent / path):  # noqa: PTH110
                raise InputError(
                    f"{config}, {key}",
                    f"{path} is not in {Path.cwd()}, where the command was run and where paths in "
                    "a configuration start",
                    f"It is in {config.parent.absolute()}: run the command there",
                )


def _read_toml(path: Path) -> dict[str, object]:
    if checked_file(path).stat().st_size > MAX_CONFIG_BYTES:
        raise InputError(path, f"larger than {MAX_CONFIG_BYTES:,} bytes: not a configuration")
    text = _decoded(path)
    try:
        values = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        remedy = BACKSLASHES if "\\" in text else ""
        raise InputError(path, f"not a TOML file ({error})", remedy) from error
    for key, value in values.items():
        listed = value if isinstance(value, list) else [value]
        if key != "preprocessing" and not all(map(_is_plain, listed)):
            raise InputError(f"{path}, {key}", "expected a text, a number or a list of them")
    return values | {key: _paths_in(path, key, values[key]) for key in PATHS & values.keys()}


def _decoded(path: Path) -> str:
    """The text of a settings file, in UTF-8 or, as Windows writes it, with a mark that says what it
    is in. Raises InputError where it is in neither."""
    content = path.read_bytes()
    marks = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF16_LE: "utf-16"}
    marks |= {codecs.BOM_UTF16_BE: "utf-16"}
    encoding = next((name for mark, name in marks.items() if content.startswith(mark)), "utf-8")
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        raise InputError(path, f"not UTF-8 text ({error.reason})", "Save it as UTF-8") from error
    if "\0" in text:
        raise InputError(path, "not a TOML file, but perhaps text in UTF-16", "Save it as UTF-8")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _paths_in(config: Path, key: str, value: object) -> object:
    """A setting that is a path or a list of them, each as settings_toml writes it."""
    if isinstance(value, list):
        return [_paths_in(config, key, one) for one in value]
    if not isinstance(value, str):
        return value
    if value.startswith(URI):
        return Path(os.fsdecode(unquote_to_bytes(value.removeprefix(URI))))
    # In double quotes a backslash and a letter can be a sign that no name has on Windows.
    if re.search(r"[\b\t\n\f\r]", value) and not exists(value):  # noqa: PTH110
        raise InputError(f"{config}, {key}", f"no file {value}", BACKSLASHES)
    return value


def _written(path: Path) -> str:
    """A path made absolute, as a text; as a URI where its name is no text in UTF-8."""
    text = str(path.absolute())
    try:
        text.encode()
    except UnicodeEncodeError:
        with suppress(UnicodeEncodeError):  # of half a surrogate pair, which no file is called
            return URI + quote(os.fsencode(text))
    return text


def _is_plain(value: object) -> bool:
    if isinstance(value, str):
        return "\0" not in value
    return isinstance(value, float) or (isinstance(value, int) and value.bit_length() < 64)


def settings_toml(settings: PruneSettings, preprocessing: Preprocessing, device: str) -> str:
    """settings.toml of a run folder: `--config settings.toml --out NEW` repeats the run.

    preprocessing, device: what the run found to use. Paths become absolute; `out` is left out, for
    a run never overwrites another.
    """
    left_out = {"out", "preprocessing"}
    resolved = settings.model_dump(mode="json", exclude=left_out, exclude_none=True)
    for key in ("model", "clean_valid", "clean_test"):
        if key in resolved:
            resolved[key] = _written(getattr(settings, key))
    resolved["poisoned_test"] = [_written(path) for path in settings.poisoned_test]
    resolved |= dict([preprocessing.asked_by]) | {"device": device}
    return "# Repeat this run: ytf-prune --config settings.toml --out NEW\n" + tomli_w.dumps(
        resolved
    )
