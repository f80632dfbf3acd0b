"""What a sweep reads of a set is not read again to compare its images with those of others."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, field

import numpy as np
import pytest
import torch

from tests.images.test_pairing import glasses, photos
from ytf_torch.images.arrays import ImagesInMemory, images_of
from ytf_torch.images.batches import BATCH_SIZE
from ytf_torch.images.image_set import ImageBatch, ImageSet, ImageSets
from ytf_torch.images.overlap import digests, shared_images
from ytf_torch.images.read_once import ReadOnce, read_once

IMAGES = 300
PIXELS = photos((3, 55, 47), seed=1, count=IMAGES)
LABELS = np.arange(IMAGES) % 7
ORDER = np.random.default_rng(0).permutation(IMAGES)


@dataclass(frozen=True, repr=False)
class Counted(ImagesInMemory):
    """A set that counts which images are read."""

    reads: list[int] = field(default_factory=list)

    def batches(
        self, size: int = BATCH_SIZE, readers: int | None = None
    ) -> Generator[ImageBatch, None, None]:
        at = self.first
        for batch in super().batches(size, readers):
            self.reads.extend(range(at, at + len(batch.labels)))
            at += len(batch.labels)
            yield batch


def counted(pixels: torch.Tensor) -> Counted:
    images = images_of(pixels.numpy(), LABELS)
    return Counted(images.path, images.input_shape, images.labels, pixels=images.pixels)


def swept(images: ImageSet) -> list[ImageBatch]:
    return list(images.batches())


@pytest.fixture
def plain() -> ImageSets:
    triggered = glasses(PIXELS)[ORDER]
    return ImageSets(counted(PIXELS.flip(3)), counted(PIXELS), (counted(triggered),))


def test_each_image_is_read_once_and_paired_as_before(plain: ImageSets) -> None:
    sets = read_once(plain)
    for images in sets.every:
        swept(images)
    assert sets.pairings is not None
    assert plain.pairings is not None
    (pairing,), (expected,) = sets.pairings, plain.pairings
    assert (pairing.places == expected.places).all()
    assert (pairing.places == ORDER).all()


@pytest.mark.parametrize("read", [0, 40, 256, IMAGES])
def test_only_what_a_sweep_did_not_read_is_read_to_compare(plain: ImageSets, read: int) -> None:
    sets = read_once(plain)
    for images in sets.every:
        swept(images.part(0, read))
    assert sets.pairings is not None
    assert shared_images(sets.every) == {}
    for images in plain.measured:
        assert isinstance(images, Counted)
        assert sorted(images.reads) == list(range(IMAGES))


def test_batches_are_those_of_the_set(plain: ImageSets) -> None:
    sets = read_once(plain)
    for ours, theirs in zip(sets.every, plain.every, strict=True):
        for part in ((0, IMAGES), (64, 75)):
            batches, expected = swept(ours.part(*part)), swept(theirs.part(*part))
            assert len(batches) == len(expected)
            for one, other in zip(batches, expected, strict=True):
                assert torch.equal(one.pixels, other.pixels)
                assert torch.equal(one.labels, other.labels)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_hashes_are_those_of_the_set(dtype: type) -> None:
    images = images_of(PIXELS.numpy().astype(dtype), LABELS)
    once = read_once(ImageSets(images)).clean_valid
    assert (digests(once) == digests(images)).all()
    assert (digests(once.part(10, 20)) == digests(images)[10:20]).all()


def test_shared_images_are_found(plain: ImageSets) -> None:
    shared = images_of(torch.cat([PIXELS[:50], PIXELS[:250].flip(2)]).numpy(), LABELS)
    sets = read_once(ImageSets(plain.clean_valid, shared, (counted(PIXELS),)))
    assert shared_images(sets.every) == {(1, 2): 50}


def test_a_set_that_was_not_prepared_is_paired_by_reading(plain: ImageSets) -> None:
    (triggered,) = read_once(plain).poisoned_tests
    assert plain.clean_test is not None
    assert (triggered.paired_with(plain.clean_test).places == ORDER).all()


def test_without_triggered_images_there_are_no_thumbnails(plain: ImageSets) -> None:
    sets = read_once(ImageSets(plain.clean_valid, plain.clean_test))
    assert isinstance(sets.clean_test, ReadOnce)
    assert sets.clean_test.thumbnails() is None
