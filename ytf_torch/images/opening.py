"""Opens an image set by the kind of its path: HDF5, .npz, or a folder. The only place that does."""

from __future__ import annotations

from pathlib import Path

from ytf_torch.disk.reading import checked_source, is_hdf5, is_numpy_archive, wrong_kind
from ytf_torch.images.folder_images import open_folder, open_unlabelled_folder
from ytf_torch.images.hdf5_images import open_hdf5_images, open_unlabelled_hdf5
from ytf_torch.images.image_set import ImageSet
from ytf_torch.images.layout import Shape
from ytf_torch.images.npz_images import open_npz, open_unlabelled_npz


def open_images(path: str | Path, input_shape: Shape, classes: int) -> ImageSet:
    """Open a file or a folder of images, and check it against a model.

    input_shape: the model's input, (channels, height, width). classes: the number of its classes.
    The pixels of an HDF5 file are read later, on demand; an .npz or a folder is read into memory.
    Raises InputError if images or labels are missing, images have another shape, the counts differ,
    the set is empty or declares more images than its file can hold, or a label is not a whole
    number of 0…classes-1.

    >>> open_images("bd_test.h5", (3, 55, 47), classes=7).labels[:3]
    array([0, 0, 0])
    """
    path = Path(path)
    if checked_source(path).is_dir():
        return open_folder(path, input_shape, classes)
    if is_numpy_archive(path):
        return open_npz(path, input_shape, classes)
    _check_hdf5(path)
    return open_hdf5_images(path, input_shape, classes)


def open_unlabelled(path: Path, input_shape: Shape) -> ImageSet:
    """Open a set whose labels are not needed: they may be missing, and are all UNLABELLED. Raises
    InputError as `open_images` does.
    """
    if checked_source(path).is_dir():
        return open_unlabelled_folder(path, input_shape)
    if is_numpy_archive(path):
        return open_unlabelled_npz(path, input_shape)
    _check_hdf5(path)
    return open_unlabelled_hdf5(path, input_shape)


def _check_hdf5(path: Path) -> None:
    if not is_hdf5(path):
        raise wrong_kind(path, "an HDF5 file, an .npz or a folder of images")
