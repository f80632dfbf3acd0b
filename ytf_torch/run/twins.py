"""Scans of a network's clean twins. Each twin's anomalies are cached, so that the next network of
the same architecture and validation images is set against them at once."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from platformdirs import user_cache_path

import ytf_torch.defences
import ytf_torch.layers
import ytf_torch.network
from ytf_torch.defences.base import Scan, Suspicions
from ytf_torch.defences.methods import SCANS
from ytf_torch.defences.scans.twins import FITTED, AmongTwins, CleanTwins, joint_p_value
from ytf_torch.defences.training import TrainingFaces, augmentation, may_be_mirrored
from ytf_torch.disk.writing import whole_file
from ytf_torch.errors import InputError
from ytf_torch.images.image_set import ImageSet
from ytf_torch.network.graph import graph_to_json
from ytf_torch.network.module import Network
from ytf_torch.network.wrapped_module import WrappedModule
from ytf_torch.progress import Track
from ytf_torch.run.finished import json_object


@dataclass(frozen=True)
class TwinRecord:
    """What is kept of a clean twin. anomalies: name of the scan → the twin's largest anomaly.
    recognised: share of the clean validation images, 0–1."""

    seed: int
    anomalies: Mapping[str, float]
    recognised: float


@dataclass(frozen=True)
class TwinComparison:
    """A network among its clean twins. by_scan: name of the scan → its anomaly among theirs."""

    twins: tuple[TwinRecord, ...]
    by_scan: Mapping[str, AmongTwins]

    @property
    def p_value(self) -> float:
        """Of all scans together, see `joint_p_value`."""
        return joint_p_value([among.p_value for among in self.by_scan.values()])

    @property
    def doubts(self) -> tuple[str, ...]:
        """A warning where twins recognise less than FITTED of the validation images."""
        unfit = sum(twin.recognised < FITTED for twin in self.twins)
        if not unfit:
            return ()
        return (
            f"{unfit} of {len(self.twins)} clean twins recognise less than {100 * FITTED:.0f} % of "
            "the validation images that they were trained on, so the network can hardly be "
            "compared with them",
        )


def compare_with_twins(
    network: Network,
    clean_valid: ImageSet,
    scans: Mapping[str, Scan],
    suspicions: Mapping[str, Suspicions],
    count: int,
    track: Track,
    *,
    training: CleanTwins | None = None,
    folder: Path | None = None,
) -> TwinComparison:
    """The network's suspicions among those of `count` clean twins, of seeds 0 … count − 1.

    folder: the cache, by default the user's. It holds JSON files of two numbers each. A
    scan that is an object of the user is not cached, nor is any of a user's own module: whether
    they are the same as before cannot be told.
    """
    training = CleanTwins() if training is None else training
    images = TrainingFaces.of(clean_valid, network.device)
    mirror = may_be_mirrored(network, images)
    kept = _Kept(folder or twin_cache(), network, images, mirror, training, scans)
    each = training.epochs_for(len(images)) * len(images)
    done = track("clean twins", count, "twins")
    twins: list[TwinRecord] = []
    for seed in range(count):
        record = kept.record(seed)
        if record is None:
            trained = track("training a clean twin", each, "images")
            twin = training.twin(network, images, augmentation(mirror=mirror), seed, trained)
            anomalies = {
                name: max(scan.suspicions(twin.network, clean_valid, track).anomaly)
                for name, scan in scans.items()
            }
            record = TwinRecord(seed, anomalies, twin.recognised)
            kept.keep(record)
        twins.append(record)
        done(1)
    by_scan = {
        name: AmongTwins(
            max(found.anomaly), tuple(twin.anomalies[name] for twin in twins), found.threshold
        )
        for name, found in suspicions.items()
    }
    return TwinComparison(tuple(twins), by_scan)


def twin_cache() -> Path:
    """The user's cache of twins."""
    return user_cache_path("ytf-torch") / "twins"


class _Kept:
    """The cache: a file for each twin and scan, named after a digest of all that decides it."""

    def __init__(
        self,
        folder: Path,
        network: Network,
        images: TrainingFaces,
        mirror: bool,
        training: CleanTwins,
        scans: Mapping[str, Scan],
    ) -> None:
        self._folder, self._scans = folder, scans
        same = all(SCANS.get(name) is scan for name, scan in scans.items())
        self._lasting = same and not isinstance(network, WrappedModule)
        if self._lasting:
            self._of_twins = {"mirror": mirror, **_decides(network, images, training)}

    def record(self, seed: int) -> TwinRecord | None:
        """The record of a twin; None where one of the scans of it is missing or damaged."""
        if not self._lasting:
            return None
        found = {name: json_object(self._file(name, seed)) for name in self._scans}
        if not all(map(_is_valid, found.values())):
            return None
        anomalies = {name: float(content["anomaly"]) for name, content in found.items()}
        last = list(found.values())[-1]
        return TwinRecord(seed, anomalies, float(last["recognised"]))

    def keep(self, record: TwinRecord) -> None:
        """Write a file for each scan. A cache that cannot be written costs the next run time, and
        is no error of this one."""
        if not self._lasting:
            return
        with suppress(OSError, InputError):
            self._folder.mkdir(parents=True, exist_ok=True)
            for name, anomaly in record.anomalies.items():
                content = {"anomaly": anomaly, "recognised": record.recognised}
                with whole_file(self._file(name, record.seed), durable=False) as temporary:
                    temporary.write_text(json.dumps(content) + "\n", encoding="utf-8")

    def _file(self, name: str, seed: int) -> Path:
        scan = self._scans[name]
        decides = {**self._of_twins, "seed": seed, "scan": [type(scan).__name__, vars(scan)]}
        text = json.dumps(decides, sort_keys=True)
        return self._folder / f"{name}-{hashlib.sha256(text.encode()).hexdigest()[:24]}.json"


def _is_valid(content: Mapping[str, Any]) -> bool:
    """Whether a cached file holds what `keep` writes: it may be damaged, or of another version."""
    numbers = [content.get(name) for name in ("anomaly", "recognised")]
    return all(isinstance(number, float) and math.isfinite(number) for number in numbers)


def _decides(network: Network, images: TrainingFaces, training: CleanTwins) -> dict[str, Any]:
    """All that decides a twin but its seed."""
    pixels = hashlib.sha256(images.pixels.cpu().contiguous().numpy().tobytes())
    pixels.update(images.labels.cpu().numpy().tobytes())
    copied = hashlib.sha256()
    for name, tensor in network.data_statistics.items():
        copied.update(name.encode() + tensor.cpu().numpy().tobytes())
    return {
        "graph": graph_to_json(network.graph),
        "preprocessing": repr(network.pixel_preprocessing),
        "dtype": str(network.dtype),
        "device": network.device.type,
        "images": pixels.hexdigest(),
        "copied": copied.hexdigest(),
        "training": vars(training),
        "code": _code(),
    }


@cache
def _code() -> list[str]:
    """The versions of libraries, and a digest of the code that trains and scans."""
    rooms = (ytf_torch.defences, ytf_torch.network, ytf_torch.layers)
    files = sorted(file for room in rooms for file in Path(room.__path__[0]).rglob("*.py"))
    digest = hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()
    return [*map(version, ("torch", "numpy", "scipy")), torch.__version__, digest]
