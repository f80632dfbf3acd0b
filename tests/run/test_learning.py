"""Which networks and sets repairs, scans and detectors accept for training, and which not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.made.keras_files import KERNELS, SMALL
from ytf_torch.errors import InputError
from ytf_torch.images.hdf5_images import HDF5Images
from ytf_torch.images.image_set import UNLABELLED, ImageSet
from ytf_torch.network.deepid import DeepIDSizes, deepid
from ytf_torch.network.module import Network
from ytf_torch.run.learning import (
    MAX_TRIGGER_VALUES,
    MAX_VALUES_IN_MEMORY,
    WITHOUT_GRADIENTS,
    check_learning,
)

LARGE = DeepIDSizes((128, 128), (20, 40, 60, 80), KERNELS, features=160, classes=2)
LAB_FACES = 11_547
FACE_VALUES = 3 * 55 * 47


def faces(sizes: DeepIDSizes, count: int) -> ImageSet:
    return HDF5Images(Path("valid.h5"), sizes.input_shape, np.full(count, UNLABELLED))


def network(sizes: DeepIDSizes, dtype: torch.dtype = torch.float32) -> Network:
    torch.manual_seed(0)
    return deepid(sizes, pixel_scale=1.0).to(dtype)


@pytest.mark.parametrize("method", ["distillation", "badexpert", "neural-cleanse"])
def test_the_published_networks_and_their_validation_faces_may_be_learned_from(method: str) -> None:
    published = DeepIDSizes((55, 47), (20, 40, 60, 80), KERNELS, features=160, classes=1283)
    check_learning(network(published), faces(published, LAB_FACES), [method])
    check_learning(network(published, torch.float64), faces(published, LAB_FACES), [method])


def test_a_network_whose_gradients_take_too_much_is_refused() -> None:
    with pytest.raises(InputError) as error:
        check_learning(network(LARGE), faces(LARGE, 10), ["mm-bd"])
    assert "the network, for mm-bd: expected a network that needs at most 550 MB" in str(
        error.value
    )


def test_more_faces_than_may_be_in_memory_are_refused() -> None:
    most = MAX_VALUES_IN_MEMORY // FACE_VALUES
    check_learning(network(SMALL), faces(SMALL, most), ["i-bau"])
    with pytest.raises(InputError, match=f"valid.h5: expected at most {most:,} clean validation"):
        check_learning(network(SMALL), faces(SMALL, most + 1), ["i-bau"])


def test_more_classes_than_there_may_be_triggers_are_refused_where_they_are_made() -> None:
    most = MAX_TRIGGER_VALUES // (4 * 55 * 47)
    many = DeepIDSizes((55, 47), (2, 2, 2, 2), KERNELS, features=16, classes=most + 1)
    check_learning(network(many), faces(many, 10), ["mm-bd"])
    with pytest.raises(InputError, match=f"expected at most {most:,} classes"):
        check_learning(network(many), faces(many, 10), ["mm-bd", "neural-cleanse"])


@pytest.mark.parametrize("method", sorted(WITHOUT_GRADIENTS))
def test_methods_that_do_not_learn_take_any_network(method: str) -> None:
    check_learning(network(LARGE), faces(LARGE, 10**6), [method])
