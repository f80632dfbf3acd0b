"""Image sets as folders of pictures: one folder a class, as Keras and torchvision read them.

Names that are all whole numbers are the labels themselves. Other names are the classes in sorted
order, and there has to be a folder for each class of the network: with one left out, all classes
behind it would be taken for others.
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

LAYOUT = "a folder for each class, with the pictures of it"
MAX_LABEL_DIGITS = 9


def open_folder(path: Path, input_shape: Shape, classes: int) -> ImagesInMemory:
    """Pictures in a folder for each class, in order of labels, then of names. See
    opening.open_images."""
    names = _folders(path)
    if not names:
        found = f"{len(_pictures(path)):,} pictures and no folder"
        remedy = (
            "Move the pictures of each class into a folder of it; triggered ones need none where "
            f"{argument('target')} is given"
        )
        raise mismatch(path, LAYOUT, found, remedy)
    labels = _labels(path, names, classes)
    named = zip(labels, names, strict=True)
    files = [(label, file) for label, name in named for file in _pictures(path / name)]
    if not files:
        raise InputError(path, f"none of its folders holds a picture ({FORMATS})")
    pixels = _read([file for _, file in files], path, input_shape)
    people = np.array([label for label, _ in files])
    class_names = None if _are_numbers(names) else tuple(names)
    return ImagesInMemory(
        path, input_shape, people, class_names=class_names, pixels=pixels, file=path
    )


def open_unlabelled_folder(path: Path, input_shape: Shape) -> ImagesInMemory:
    """Pictures in a folder and in the folders in it, whatever these are called. See
    opening.open_unlabelled."""
    files = [file for name in _folders(path) for file in _pictures(path / name)]
    files += _pictures(path)
    if not files:
        raise InputError(path, f"the folder holds no picture ({FORMATS})")
    pixels = _read(files, path, input_shape)
    return ImagesInMemory(
        path, input_shape, np.full(len(files), UNLABELLED), pixels=pixels, file=path
    )


def _labels(path: Path, names: Sequence[str], classes: int) -> list[int]:
    """The label of each folder. Raises InputError where the names do not tell them."""
    if not _are_numbers(names):
        if len(names) != classes:
            raise mismatch(
                path,
                f"{classes} folders, one a class in the order of their names",
                f"{len(names)} ({', '.join(names[:3])}, …)",
                "Add an empty folder for each class without pictures, or name folders by labels, "
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
    """The folders in a folder, in order of the labels that they stand for: of their numbers, else
    of their names as Keras sorts them. Hidden ones and links do not count."""
    with os.scandir(path) as entries:
        names = sorted(
            entry.name
            for entry in entries
            if entry.is_dir(follow_symlinks=False) and not entry.name.startswith(".")
        )
    return sorted(names, key=int) if _are_numbers(names) else names


def _pictures(folder: Path) -> list[Path]:
    """The pictures in a folder in order of their names; hidden files, links and files of other
    endings do not count."""
    try:
        with os.scandir(folder) as entries:
            found = sorted(
                entry.name
                for entry in entries
                if entry.is_file(follow_symlinks=False)
                and not entry.name.startswith(".")
                and Path(entry.name).suffix.lower() in SUFFIXES
            )
    except OSError as error:
        raise InputError(folder, f"cannot be read ({error.strerror})") from error
    if len(found) > MAX_ENTRIES:
        raise mismatch(folder, f"at most {MAX_ENTRIES:,} files", f"{len(found):,}")
    return [folder / name for name in found]


def _read(files: Sequence[Path], folder: Path, input_shape: Shape) -> Tensor:
    """Pictures as the network reads them, (images, channels, height, width), uint8, in memory: a
    run asks for them many times, and unpacks them once. Raises InputError naming one that cannot
    be read, or where there are too many."""
    if len(files) > MAX_IMAGES:
        raise mismatch(folder, f"at most {MAX_IMAGES:,} images", f"{len(files):,}")
    check_in_memory(folder, len(files), input_shape, narrow=True)
    pixels = torch.empty((len(files), *input_shape), dtype=torch.uint8)
    with ThreadPoolExecutor(readers_for(core_count())) as threads:
        read = threads.map(lambda file: read_photo(file, input_shape), files)
        for place, photo in enumerate(read):
            pixels[place] = photo
    return pixels
