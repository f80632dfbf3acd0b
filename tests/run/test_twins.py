"""A network among its clean twins, and the cache of these."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from tests.made.badnet import MadeBadNet, made_badnet
from ytf_torch.defences.base import Scan, Suspicions
from ytf_torch.defences.methods import SCANS
from ytf_torch.defences.scans.last_layer import LastLayerOutliers
from ytf_torch.defences.scans.twins import CleanTwins, Twin
from ytf_torch.defences.training import Augment, TrainingFaces
from ytf_torch.images.image_set import ImageSet
from ytf_torch.network.module import Network
from ytf_torch.progress import Track, untracked
from ytf_torch.run.twins import TwinComparison, compare_with_twins

LAST_LAYER: Mapping[str, Scan] = {"last-layer": SCANS["last-layer"]}


class Counted(CleanTwins):
    """Notes the seeds that it trained."""

    def __init__(self) -> None:
        super().__init__(epochs=4, fewest_steps=1)

    def twin(
        self,
        network: Network,
        images: TrainingFaces,
        augment: Augment,
        seed: int,
        done: Callable[[int], None],
    ) -> Twin:
        SEEDS.append(seed)
        return super().twin(network, images, augment, seed, done)


SEEDS: list[int] = []


@pytest.fixture
def badnet() -> MadeBadNet:
    SEEDS.clear()
    return made_badnet()


@pytest.fixture
def clean_valid(badnet: MadeBadNet, tmp_path: Path) -> ImageSet:
    return badnet.clean_valid(tmp_path)


def compared(
    network: Network,
    clean_valid: ImageSet,
    count: int,
    folder: Path,
    scans: Mapping[str, Scan] = LAST_LAYER,
) -> TwinComparison:
    found = {name: scan.suspicions(network, clean_valid, untracked) for name, scan in scans.items()}
    return compare_with_twins(
        network, clean_valid, scans, found, count, untracked, training=Counted(), folder=folder
    )


def test_the_anomaly_of_each_twin_is_the_largest_of_its_classes(
    badnet: MadeBadNet, clean_valid: ImageSet, tmp_path: Path
) -> None:
    scans = {"every-class": Fixed((0.5, 2.5, 1.0, -3.0, 0.0))}
    among = compared(badnet.network, clean_valid, 3, tmp_path / "twins", scans)
    assert among.by_scan["every-class"].anomaly == 2.5
    assert among.by_scan["every-class"].twins == (2.5, 2.5, 2.5)
    assert among.by_scan["every-class"].threshold == 2.0
    assert among.p_value == 1.0


class Fixed:
    """A scan of the user's own."""

    def __init__(self, anomaly: tuple[float, ...]) -> None:
        self.anomaly = anomaly

    def suspicions(self, network: Network, clean_valid: ImageSet, track: Track) -> Suspicions:
        return Suspicions(self.anomaly, threshold=2.0)


def test_twins_are_trained_once_and_more_of_them_added(
    badnet: MadeBadNet, clean_valid: ImageSet, tmp_path: Path
) -> None:
    folder = tmp_path / "cache" / "twins"
    first = compared(badnet.network, clean_valid, 2, folder)
    assert SEEDS == [0, 1]
    again = compared(badnet.network, clean_valid, 3, folder)
    assert SEEDS == [0, 1, 2]
    assert again.twins[:2] == first.twins
    other = compared(badnet.sound, clean_valid, 3, folder)
    assert SEEDS == [0, 1, 2]
    assert other.twins == again.twins
    assert other.by_scan["last-layer"].anomaly != again.by_scan["last-layer"].anomaly


def test_other_images_and_other_settings_have_other_twins(
    badnet: MadeBadNet, clean_valid: ImageSet, tmp_path: Path
) -> None:
    folder = tmp_path / "twins"
    compared(badnet.network, clean_valid, 1, folder)
    fewer = tmp_path / "fewer"
    fewer.mkdir()
    half = MadeBadNet(
        badnet.network, badnet.sound, badnet.clean[:80], badnet.triggered[:80], badnet.people[:80]
    )
    compared(badnet.network, half.clean_valid(fewer), 1, folder)
    assert SEEDS == [0, 0]
    found = LAST_LAYER["last-layer"].suspicions(badnet.network, clean_valid, untracked)
    compare_with_twins(
        badnet.network,
        clean_valid,
        LAST_LAYER,
        {"last-layer": found},
        1,
        untracked,
        training=CleanTwins(epochs=5, fewest_steps=1),
        folder=folder,
    )
    assert len(list(folder.iterdir())) == 3


@pytest.mark.parametrize("content", ["", "{}", '{"anomaly": "high", "recognised": 1.0}', "[1, 2]"])
def test_a_damaged_file_of_the_cache_is_made_anew(
    content: str, badnet: MadeBadNet, clean_valid: ImageSet, tmp_path: Path
) -> None:
    folder = tmp_path / "twins"
    first = compared(badnet.network, clean_valid, 1, folder)
    (file,) = folder.iterdir()
    file.write_text(content)
    assert compared(badnet.network, clean_valid, 1, folder).twins == first.twins
    assert SEEDS == [0, 0]
    assert json.loads(file.read_text())["anomaly"] == first.twins[0].anomalies["last-layer"]


def test_a_scan_of_the_users_own_is_not_cached(
    badnet: MadeBadNet, clean_valid: ImageSet, tmp_path: Path
) -> None:
    folder = tmp_path / "twins"
    own: Mapping[str, Scan] = {"last-layer": LastLayerOutliers(threshold=1.0)}
    compared(badnet.network, clean_valid, 1, folder, own)
    assert not folder.exists()


def test_a_cache_that_cannot_be_written_costs_only_time(
    badnet: MadeBadNet, clean_valid: ImageSet, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    among = compared(badnet.network, clean_valid, 1, tmp_path / "file" / "twins")
    assert len(among.twins) == 1


def test_twins_that_do_not_fit_are_counted(
    badnet: MadeBadNet, clean_valid: ImageSet, tmp_path: Path
) -> None:
    found = LAST_LAYER["last-layer"].suspicions(badnet.network, clean_valid, untracked)
    among = compare_with_twins(
        badnet.network,
        clean_valid,
        LAST_LAYER,
        {"last-layer": found},
        2,
        untracked,
        training=CleanTwins(epochs=1, fewest_steps=1, learning_rate=1e-7),
        folder=tmp_path / "twins",
    )
    (doubt,) = among.doubts
    assert doubt.startswith("2 of 2 clean twins recognise less than 98 % of the validation images")
