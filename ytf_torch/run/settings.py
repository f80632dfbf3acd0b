"""Settings of a pruning run: configs/*.toml and the command line, checked as one."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import tomli_w
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from ytf_torch.device import DeviceName
from ytf_torch.disk.reading import checked_file
from ytf_torch.errors import InputError
from ytf_torch.network.pixel_scale import parse_pixel_scale, pixel_scale_text
from ytf_torch.sweep.drop import parse_drop

# Ours have 2 kB with all their comments; long dotted keys take tomllib quadratic time.
MAX_CONFIG_BYTES = 2**14
Layer = Literal["conv_1", "conv_2", "conv_3", "conv_4"]
RankPoint = Literal["conv_1", "pool_1", "conv_2", "pool_2", "conv_3", "pool_3", "conv_4"]


class PruneSettings(BaseModel):
    """Everything that decides a pruning run."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)

    model: Path
    clean_valid: Path
    clean_test: Path | None = None
    poisoned_test: tuple[Path, ...] = ()
    out: Path
    drops: tuple[str, ...] = ("2", "4", "10")
    layer: Layer = "conv_3"
    rank_at: RankPoint = Field(default="pool_3")
    device: DeviceName = "auto"
    engine: Literal["fast", "plain"] = "fast"
    precision: Literal["float32", "float64"] | None = None
    pixel_scale: float | None = None

    @property
    def files(self) -> tuple[Path, ...]:
        """Every file that the run reads."""
        sets = (self.clean_valid, self.clean_test, *self.poisoned_test)
        return (self.model, *(path for path in sets if path is not None))

    @field_validator("pixel_scale", mode="before")
    @classmethod
    def _pixel_scale(cls, value: object) -> float | None:
        return None if value is None else parse_pixel_scale(str(value))

    @field_validator("poisoned_test", mode="before")
    @classmethod
    def _poisoned_test(cls, value: object) -> object:
        paths = (value,) if isinstance(value, str | Path) else value
        if not isinstance(paths, list | tuple):
            raise InputError("--poisoned-test", f"expected a path or a list of them, found {value}")
        return paths

    @field_validator("drops", mode="before")
    @classmethod
    def _drops(cls, value: object) -> tuple[str, ...]:
        parts = value.split(",") if isinstance(value, str) else value
        if not isinstance(parts, list | tuple) or not parts:
            raise InputError("--drops", "expected percentage points such as 2,4,10")
        drops = tuple(str(part).strip() for part in parts)
        for drop in drops:
            parse_drop(drop)
        if len({parse_drop(drop) for drop in drops}) != len(drops):
            raise InputError("--drops", f"expected each drop once, found {','.join(drops)}")
        return drops

    @model_validator(mode="before")
    @classmethod
    def _rank_at(cls, values: Any) -> Any:  # noqa: ANN401
        from ytf_torch.network.deepid import rank_points

        if isinstance(values, dict) and values.get("rank_at") is None:
            points = rank_points(str(values.get("layer") or "conv_3"))
            values = values | {"rank_at": points[0]}
        return values

    @model_validator(mode="after")
    def _rank_point_of_layer(self) -> PruneSettings:
        from ytf_torch.network.deepid import rank_points

        points = rank_points(self.layer)
        if self.rank_at not in points:
            raise InputError(
                "--rank-at",
                f"expected {' or '.join(points)} for --layer {self.layer}, found {self.rank_at}",
            )
        return self


def read_settings(config: Path | None, flags: Mapping[str, object]) -> PruneSettings:
    """A configuration file, with flags that were given (not None) on top.

    Paths in it are relative to the working folder, as on the command line.
    Raises InputError naming the key and what it may be.
    """
    values: dict[str, object] = {} if config is None else _read_toml(config)
    values |= {key: value for key, value in flags.items() if value not in (None, [], ())}
    place = "command line" if config is None else str(config)
    try:
        return PruneSettings.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        key = str(first["loc"][0]) if first["loc"] else "settings"
        if first["type"] == "missing":
            flag = f"--{key.replace('_', '-')}"
            raise InputError(
                place, f"{flag} is missing: give the flag, or {key} in --config"
            ) from error
        if first["type"] == "extra_forbidden":
            known = ", ".join(PruneSettings.model_fields)
            raise InputError(place, f"unknown key {key}; expected one of {known}") from error
        raise InputError(
            f"{place}, {key}", f"{first['msg']}; found {str(first['input'])[:80]}"
        ) from error


def _read_toml(path: Path) -> dict[str, object]:
    if checked_file(path).stat().st_size > MAX_CONFIG_BYTES:
        raise InputError(path, f"larger than {MAX_CONFIG_BYTES:,} bytes: not a configuration")
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise InputError(path, f"not a TOML file ({error})") from error
    for key, value in values.items():
        if not all(map(_is_plain, value if isinstance(value, list) else [value])):
            raise InputError(f"{path}, {key}", "expected a text, a number or a list of them")
    return values


def _is_plain(value: object) -> bool:
    if isinstance(value, str):
        return "\0" not in value
    return isinstance(value, float) or (isinstance(value, int) and value.bit_length() < 64)


def settings_toml(settings: PruneSettings, pixel_scale: float, device: str) -> str:
    """settings.toml of a run folder: `--config settings.toml --out NEW` repeats the run.

    pixel_scale, device: what the run found to use. Paths become absolute; `out` is left out, for
    a run never overwrites another.
    """
    resolved = settings.model_dump(mode="json", exclude={"out"}, exclude_none=True)
    for key in ("model", "clean_valid", "clean_test"):
        if key in resolved:
            resolved[key] = str(Path(resolved[key]).absolute())
    resolved["poisoned_test"] = [str(path.absolute()) for path in settings.poisoned_test]
    resolved |= {"pixel_scale": pixel_scale_text(pixel_scale), "device": device}
    return "# Repeat this run: ytf-prune --config settings.toml --out NEW\n" + tomli_w.dumps(
        resolved
    )
