"""A whole defence of a small random network on a few made-up faces."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np

from tests.made.keras_files import SMALL, random_images
from ytf_torch.commands.prune import command_line
from ytf_torch.defences.repairs.pruning import run_defence
from ytf_torch.images.image_set import ImageSet, ImageSets
from ytf_torch.images.opening import open_images
from ytf_torch.network.checkpoint import Checkpoint
from ytf_torch.report.prune.exhibits import Exhibits, gather_exhibits
from ytf_torch.report.prune.prune_page import report_html
from ytf_torch.report.prune.prune_record import FaceFiles, Run
from ytf_torch.run.settings import PruneSettings

IMAGES = 24
TARGET = 0


def write_faces(path: Path, pixels: np.ndarray, labels: np.ndarray) -> ImageSet:
    with h5py.File(path, "w") as file:
        file["data"], file["label"] = pixels, labels
    return open_images(path, SMALL.input_shape, SMALL.classes)


def small_sets(
    folder: Path, checkpoint: Checkpoint, *, clean_test: bool = True, triggered: int = 1
) -> ImageSets:
    """Clean faces labelled with the network's own answers; triggered ones wear a white bar."""
    import torch

    folder.mkdir(exist_ok=True)

    def clean(name: str, seed: int) -> ImageSet:
        pixels = random_images(SMALL, IMAGES, seed)
        labels = checkpoint.model(torch.from_numpy(pixels)).argmax(1).numpy()
        return write_faces(folder / name, pixels, labels)

    def with_trigger(number: int) -> ImageSet:
        pixels = random_images(SMALL, IMAGES, seed=2)
        pixels[:, :, 10 : 14 + number] = 255
        name = folder / f"bd_test{number}.h5"
        return write_faces(name, pixels, np.full(IMAGES, TARGET))

    return ImageSets(
        clean("valid.h5", 1),
        clean("test.h5", 2) if clean_test else None,
        tuple(map(with_trigger, range(triggered))),
    )


def small_run(
    folder: Path,
    checkpoint: Checkpoint,
    *,
    clean_test: bool = True,
    triggered: int = 1,
    drops: tuple[str, ...] = ("2", "40"),
) -> tuple[Run, PruneSettings, Exhibits]:
    sets = small_sets(folder, checkpoint, clean_test=clean_test, triggered=triggered)
    settings = PruneSettings(
        model=folder / "bd_net.h5",
        clean_valid=sets.clean_valid.path,
        clean_test=sets.clean_test.path if sets.clean_test else None,
        poisoned_test=tuple(faces.path for faces in sets.poisoned_tests),
        drops=drops,
        out=folder / "run",
    )
    defence = run_defence(checkpoint, sets, drops)
    files = FaceFiles(settings.clean_valid, settings.clean_test, settings.poisoned_test)
    return (
        Run(checkpoint, defence, "cpu", files, command_line(settings)),
        settings,
        gather_exhibits(checkpoint.model, sets, defence),
    )


def small_page(
    folder: Path, checkpoint: Checkpoint, *, clean_test: bool = True, triggered: int = 1
) -> str:
    """The report of a small run."""
    run, _, exhibits = small_run(folder, checkpoint, clean_test=clean_test, triggered=triggered)
    return report_html(run, exhibits)
