"""Image sets as folders: one subfolder per class, as Keras and torchvision read them.

Folder names that are all whole numbers are labels. Other names are class names, labelled in sorted
order; then there must be a folder for each class of the network, because a missing one would shift
the labels of all classes after it.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ytf_torch.errors import InputError, argument, mismatch
from ytf_torch.images.arrays import ImagesInMemory
from ytf_torch.images.hdf5_images import core_count, readers_for
from ytf_torch.images.image_set import UNLABELLED
from ytf_torch.images.input_files import MAX_ENTRIES
from ytf_torch.images.labels import BACKDOORED_CLASS
from ytf_torch.images.layout import MAX_IMAGES, Shape, check_in_memory
from ytf_torch.images.photos import FORMATS, SUFFIXES, read_photo

LAYOUT = "a folder for each class, with its images"
MAX_LABEL_DIGITS = 9


def open_folder(path: Path, input_shape: Shape, classes: int) -> ImagesInMemory:
    """Images in a folder for each class, sorted by label, then by file name. See
    opening.open_images."""
    names = _folders(path)
    if not names:
        content = f"{len(_image_files(path)):,} images and no folder"
        remedy = (
            "Move the images of each class into a folder of their own; triggered images need none "
            f"if {argument('target')} is given"
        )
        raise mismatch(path, LAYOUT, content, remedy)
    labels = _labels(path, names, classes)
    labelled = zip(labels, names, strict=True)
    files = [(label, file) for label, name in labelled for file in _image_files(path / name)]
    if not files:
        raise InputError(path, f"none of its folders contains an image ({FORMATS})")
    pixels = _read([file for _, file in files], path, input_shape)
    image_labels = np.array([label for label, _ in files])
    class_names = None if _are_numbers(names) else tuple(names)
    return ImagesInMemory(
        path, input_shape, image_labels, class_names=class_names, pixels=pixels, file=path
    )


def open_unlabelled_folder(path: Path, input_shape: Shape) -> ImagesInMemory:
    """Images in a folder and its subfolders, whatever the names of these. See
    opening.open_unlabelled."""
    files = [file for name in _folders(path) for file in _image_files(path / name)]
    files += _image_files(path)
    if not files:
        raise InputError(path, f"the folder contains no image ({FORMATS})")
    pixels = _read(files, path, input_shape)
    return ImagesInMemory(
        path, input_shape, np.full(len(files), UNLABELLED), pixels=pixels, file=path
    )


def _labels(path: Path, names: Sequence[str], classes: int) -> list[int]:
    """The label of each folder. Raises InputError if the names do not determine the labels."""
    if not _are_numbers(names):
        if len(names) != classes:
            raise mismatch(
                path,
                f"{classes} folders, one a class in the order of their names",
                f"{len(names)} ({', '.join(names[:3])}, …)",
                "Add an empty folder for each class without images, or name folders by labels, "
                f"0…{classes - 1}",
            )
        return list(range(classes))
    labels = [int(name) for name in names]
    for label, name in zip(labels, names, strict=True):
        if label >= classes:
            expected = f"a label of 0…{classes - 1}, for a model of {classes} classes"
            remedy = BACKDOORED_CLASS if label == classes else ""
            raise mismatch(path / name, expected, name, remedy)
        if labels.count(label) > 1:
            raise InputError(path / name, f"another folder is called {label} too")
    return labels


def _are_numbers(names: Sequence[str]) -> bool:
    return all(name.isdecimal() and len(name) <= MAX_LABEL_DIGITS for name in names)


def _folders(path: Path) -> list[str]:
    """The names of the subfolders, sorted by label: as numbers, or else as text, as Keras does.
    Hidden folders and links are ignored."""
    with os.scandir(path) as entries:
        names = sorted(
            entry.name
            for entry in entries
            if entry.is_dir(follow_symlinks=False) and not entry.name.startswith(".")
        )
    return sorted(names, key=int) if _are_numbers(names) else names


def _image_files(folder: Path) -> list[Path]:
    """The image files in a folder, sorted by name. Hidden files, links and files with other
    suffixes are ignored."""
    try:
        with os.scandir(folder) as entries:
            names = sorted(
                entry.name
                for entry in entries
                if entry.is_file(follow_symlinks=False)
                and not entry.name.startswith(".")
                and Path(entry.name).suffix.lower() in SUFFIXES
            )
    except OSError as error:
        raise InputError(folder, f"cannot be read ({error.strerror})") from error
    if len(names) > MAX_ENTRIES:
        raise mismatch(folder, f"at most {MAX_ENTRIES:,} files", f"{len(names):,}")
    return [folder / name for name in names]


def _read(files: Sequence[Path], folder: Path, input_shape: Shape) -> Tensor:
    """Images in the network's input size, (images, channels, height, width), uint8.

    Kept in memory, because a run reads them many times and decoding is slow. Raises InputError for
    a file that cannot be read, or for too many files.
    """
    if len(files) > MAX_IMAGES:
        raise mismatch(folder, f"at most {MAX_IMAGES:,} images", f"{len(files):,}")
    check_in_memory(folder, len(files), input_shape, narrow=True)
    pixels = torch.empty((len(files), *input_shape), dtype=torch.uint8)
    with ThreadPoolExecutor(readers_for(core_count())) as threads:
        photos = threads.map(lambda file: read_photo(file, input_shape), files)
        for index, photo in enumerate(photos):
            pixels[index] = photo
    return pixels
