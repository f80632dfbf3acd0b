"""The one place that opens an image set by what its path leads to: HDF5, .npz, or a folder."""

from __future__ import annotations

from pathlib import Path

from ytf_torch.disk.reading import checked_source, is_hdf5, is_numpy_archive, wrong_kind
from ytf_torch.images.folder_images import open_folder, open_unlabelled_folder
from ytf_torch.images.hdf5_images import open_hdf5_images, open_unlabelled_hdf5
from ytf_torch.images.image_set import ImageSet
from ytf_torch.images.layout import Shape
from ytf_torch.images.npz_images import open_npz, open_unlabelled_npz


def open_images(path: str | Path, input_shape: Shape, classes: int) -> ImageSet:
    """Check a file, or a folder of pictures, against a model.

    input_shape: (channels, height, width) the model reads. classes: how many it tells apart.
    Of an HDF5 file no pixel is read yet; an .npz and pictures are read into memory.
    Raises InputError where images or labels are missing, images have another shape, the counts
    differ, the set is empty or declares more images than its file can hold, or a label is not a
    whole number of 0…classes-1.

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
    """Check a set of which only the images matter: its labels are all UNLABELLED, whatever it
    says, and it may lack them. Raises InputError as `open_images` does.
    """
    if checked_source(path).is_dir():
        return open_unlabelled_folder(path, input_shape)
    if is_numpy_archive(path):
        return open_unlabelled_npz(path, input_shape)
    _check_hdf5(path)
    return open_unlabelled_hdf5(path, input_shape)


def _check_hdf5(path: Path) -> None:
    if not is_hdf5(path):
        raise wrong_kind(path, "an HDF5 file, an .npz or a folder of pictures")
