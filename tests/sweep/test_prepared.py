from __future__ import annotations

import pytest
import torch

from ytf_torch.images.batches import BATCH_SIZE, batch_count, whole_batch
from ytf_torch.sweep.prepared import Prepared, group_sizes, keep


def test_copies_of_the_last_image_fill_a_batch() -> None:
    pixels = torch.arange(3 * 2).view(3, 1, 1, 2).to(torch.uint8)
    filled = whole_batch(pixels)
    assert len(filled) == BATCH_SIZE
    assert torch.equal(filled[:3], pixels)
    assert (filled[3:] == pixels[2]).all()
    assert torch.equal(whole_batch(filled), filled)


@pytest.mark.parametrize("images", [1, BATCH_SIZE, BATCH_SIZE + 1, 3 * BATCH_SIZE - 1])
def test_what_is_kept_gives_the_same_batches_again(images: int) -> None:
    pixels = torch.rand(batch_count(images) * BATCH_SIZE, 2, 3, 4)
    given = [
        Prepared(tensor.contiguous(memory_format=torch.channels_last), labels)
        for tensor, labels in zip(
            pixels.split(BATCH_SIZE), torch.arange(images).split(BATCH_SIZE), strict=True
        )
    ]
    kept = keep(iter(given), images, pixels.nbytes)
    assert kept is not None
    for before, after in zip(given, kept.batches(), strict=True):
        assert torch.equal(before.tensor, after.tensor)
        assert before.tensor.stride() == after.tensor.stride()
        assert torch.equal(before.labels, after.labels)


def test_what_does_not_fit_is_not_kept_but_drawn_to_the_end() -> None:
    given = iter([Prepared(torch.zeros(BATCH_SIZE, 1), torch.zeros(BATCH_SIZE))] * 3)
    assert keep(given, 3 * BATCH_SIZE, 3 * BATCH_SIZE * 4 - 1) is None
    assert list(given) == []


@pytest.mark.parametrize(
    ("images", "most", "at_once", "sizes"),
    [
        (0, 64, 2, []),
        (1, 64, 2, [1]),
        (65, 64, 1, [1, 2]),
        (64 * 32, 512, 2, [16, 16, 16, 16]),
        (64 * 32 + 1, 512, 2, [10, 11, 11, 11, 11, 11]),
        (5 * 32, 32, 4, [1, 1, 1, 1, 1]),
    ],
)
def test_groups_of_images_end_side_by_side(
    images: int, most: int, at_once: int, sizes: list[int]
) -> None:
    assert group_sizes(images, most, at_once) == sizes
