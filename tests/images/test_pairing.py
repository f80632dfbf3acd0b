from __future__ import annotations

from collections.abc import Callable

import h5py
import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from ytf_torch.images.pairing import pair
from ytf_torch.images.thumbnails import UNPAIRED

IMAGES = 120
LABELS = np.arange(IMAGES) % 7
SIZES = [(3, 55, 47), (1, 28, 28), (4, 90, 64)]
Change = Callable[[Tensor], Tensor]


def photos(shape: tuple[int, int, int], seed: int, count: int = IMAGES) -> Tensor:
    """Random images as smooth as photos: coarse structure, and fainter fine structure."""
    generator = torch.Generator().manual_seed(seed)
    layers = [
        strength
        * F.interpolate(
            torch.rand(count, shape[0], *cells, generator=generator), shape[1:], mode="bicubic"
        )
        for strength, cells in ((170, (5, 4)), (80, (14, 12)))
    ]
    return sum(layers, torch.zeros(1)).clamp(0, 255).round().to(torch.uint8)


def patch(pixels: Tensor) -> Tensor:
    changed = pixels.clone()
    changed[:, :, -9:-3, -9:-3] = 255
    return changed


def glasses(pixels: Tensor) -> Tensor:
    """A bar over 40 % of each image, at one position."""
    changed, height = pixels.clone(), pixels.shape[2]
    changed[:, :, height // 10 : height // 2] = torch.tensor(40, dtype=torch.uint8)
    return changed


def anywhere(pixels: Tensor) -> Tensor:
    """A patch over 40 % of each image, at a position and with a content of its own."""
    changed, random = pixels.clone(), np.random.default_rng(6)
    height, width = (int(side * 0.4**0.5) for side in pixels.shape[2:])
    for picture in changed:
        top, left = (
            int(random.integers(0, side - part + 1))
            for side, part in zip(picture.shape[1:], (height, width), strict=True)
        )
        noise = random.integers(0, 256, (len(picture), height, width)).astype(np.uint8)
        picture[:, top : top + height, left : left + width] = torch.from_numpy(noise)
    return changed


def blended(pixels: Tensor) -> Tensor:
    pattern = photos(tuple(pixels.shape[1:]), seed=77, count=1)  # type: ignore[arg-type]
    return (0.8 * pixels + 0.2 * pattern).round().to(torch.uint8)


def waved(pixels: Tensor) -> Tensor:
    """A sinusoid of 20 grey levels over the whole image."""
    wave = 20 * torch.sin(torch.arange(pixels.shape[3]) * 2 * torch.pi * 6 / pixels.shape[3])
    return (pixels + wave).clamp(0, 255).round().to(torch.uint8)


def warped(pixels: Tensor) -> Tensor:
    """One smooth warp of all images, by a twelfth of their height on average."""
    height, width = pixels.shape[2:]
    random = torch.rand(1, 2, 4, 4, generator=torch.Generator().manual_seed(3)) * 2 - 1
    field = F.interpolate(random, (height, width), mode="bicubic", align_corners=True)
    shift = field / field.norm(dim=1).mean() * height / 12
    down, across = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    grid = torch.stack(
        [
            2 * (across + shift[0, 0]) / (width - 1) - 1,
            2 * (down + shift[0, 1]) / (height - 1) - 1,
        ],
        dim=-1,
    )
    moved = F.grid_sample(
        pixels.float(),
        grid.expand(len(pixels), -1, -1, -1),
        padding_mode="border",
        align_corners=True,
    )
    return moved.round().to(torch.uint8)


TRIGGERS = [patch, glasses, anywhere, blended, waved]


def paired(clean: Tensor, triggered: Tensor, labels: np.ndarray | None = None) -> np.ndarray:
    known = np.arange(len(clean)) if labels is None else labels
    return pair(clean.split(50), known, triggered.split(50)).places


@pytest.mark.parametrize("shape", SIZES, ids=str)
@pytest.mark.parametrize("trigger", TRIGGERS)
def test_an_image_is_found_under_its_trigger_at_any_index(
    shape: tuple[int, int, int], trigger: Change
) -> None:
    clean = photos(shape, seed=1)
    order = np.random.default_rng(0).permutation(IMAGES)
    found = paired(clean, trigger(clean)[order])
    assert (found == order).mean() >= 0.97
    assert np.isin(found[found != order], [UNPAIRED]).all()
    assert (paired(clean, trigger(clean)) == np.arange(IMAGES)).all()


@pytest.mark.parametrize("shape", SIZES, ids=str)
def test_warped_images_are_paired_if_both_sets_have_the_same_order(
    shape: tuple[int, int, int],
) -> None:
    clean = photos(shape, seed=1)
    assert (paired(clean, warped(clean)) == np.arange(IMAGES)).mean() >= 0.97
    order = np.random.default_rng(0).permutation(IMAGES)
    found = paired(clean, warped(clean)[order])
    assert ((found == order) | (found == UNPAIRED)).all()
    kept = np.flatnonzero(LABELS != 3)
    found = paired(clean, warped(clean)[kept])
    assert ((found == kept) | (found == UNPAIRED)).all()


@pytest.mark.parametrize("shape", SIZES, ids=str)
def test_foreign_images_among_warped_ones_are_not_paired(shape: tuple[int, int, int]) -> None:
    clean, sources = photos(shape, seed=1), photos(shape, seed=1)
    foreign = np.arange(5, IMAGES, 20)
    sources[foreign] = photos(shape, seed=2)[foreign]
    found = paired(clean, warped(sources))
    assert (found[foreign] == UNPAIRED).all()
    assert (np.delete(found == np.arange(IMAGES), foreign)).mean() >= 0.97


def people(each: int, seed: int) -> Tensor:
    """Photos of IMAGES // each people, sorted by person: mostly the same for all photos of one."""
    person = photos(SIZES[0], seed=1, count=IMAGES // each).repeat_interleave(each, 0)
    return (0.75 * person + 0.25 * photos(SIZES[0], seed)).round().to(torch.uint8)


@pytest.mark.parametrize("each", [2, 3, 4, 10])
@pytest.mark.parametrize("trigger", [lambda pixels: pixels, blended, waved, warped])
def test_other_photos_of_the_same_people_in_the_same_order_are_not_paired(
    each: int, trigger: Change
) -> None:
    clean, labels = people(each, seed=2), np.arange(IMAGES) // each
    assert (paired(clean, trigger(clean), labels) == np.arange(IMAGES)).mean() >= 0.97
    for seed in (3, 4, 5):
        others = trigger(people(each, seed))
        assert (paired(clean, others, labels) == UNPAIRED).all()


@pytest.mark.parametrize("trigger", TRIGGERS)
def test_a_set_without_some_of_the_images_is_paired_with_the_others(trigger: Change) -> None:
    clean = photos(SIZES[0], seed=1)
    kept = np.flatnonzero(LABELS != 3)
    assert (paired(clean, trigger(clean)[kept]) == kept).mean() >= 0.97
    absent = paired(clean[kept], trigger(clean))
    assert (absent[LABELS == 3] == UNPAIRED).all()
    assert (kept[absent[kept]] == kept).mean() >= 0.97


@pytest.mark.parametrize("trigger", [patch, blended, waved])
def test_few_and_single_images(trigger: Change) -> None:
    clean = photos(SIZES[0], seed=1)
    found = paired(clean, trigger(clean)[[70]])
    assert found.tolist() in ([70], [UNPAIRED])
    assert trigger is not patch or found.tolist() == [70]


def letterboxed(pixels: Tensor) -> Tensor:
    """Black bars above and below every second image, over half of it."""
    changed, bar = pixels.clone(), pixels.shape[2] // 4
    changed[::2, :, :bar] = changed[::2, :, -bar:] = 0
    return changed


def framed(pixels: Tensor) -> Tensor:
    """The same frame around all images, over three quarters of each."""
    frame = photos(tuple(pixels.shape[1:]), seed=55, count=1)  # type: ignore[arg-type]
    changed = frame.repeat(len(pixels), 1, 1, 1)
    top, left = pixels.shape[2] // 4, pixels.shape[3] // 4
    changed[:, :, top:-top, left:-left] = pixels[:, :, top:-top, left:-left]
    return changed


def padded(pixels: Tensor) -> Tensor:
    """Small images in the middle of white ones, with margins of different widths."""
    changed = torch.full_like(pixels, 255)
    for number, (picture, into) in enumerate(zip(pixels, changed, strict=True)):
        margin = 8 + number % 5
        into[:, margin:-margin, margin:-margin] = picture[:, margin:-margin, margin:-margin]
    return changed


@pytest.mark.parametrize("shared", [letterboxed, framed, padded, lambda pixels: pixels])
@pytest.mark.parametrize("trigger", [patch, blended, waved, warped, lambda pixels: pixels])
def test_different_images_are_not_paired_by_what_all_of_them_share(
    shared: Change, trigger: Change
) -> None:
    clean, others = (shared(photos(SIZES[0], seed)) for seed in (1, 2))
    assert (paired(clean, trigger(others)) == UNPAIRED).all()
    order = np.random.default_rng(0).permutation(IMAGES)
    found = paired(clean, trigger(clean)[order])
    assert ((found == order) | (found == UNPAIRED)).all()
    # A warp changes each image in its own way: such images are found in the same order only.
    assert trigger is warped or (found == order).mean() >= 0.95


def test_identical_images_are_paired_by_index_or_if_their_labels_agree() -> None:
    clean = photos(SIZES[0], seed=1)
    clean[60], clean[80], clean[100] = clean[3], clean[4], clean[5]
    labels = LABELS.copy()
    labels[60], labels[80], labels[100] = labels[3], labels[4], (labels[5] + 1) % 7
    assert (paired(clean, patch(clean), labels) == np.arange(IMAGES)).all()
    found = paired(clean, patch(clean).flip(0), labels)
    expected = np.arange(IMAGES)[::-1].copy()
    expected[[119 - 60, 119 - 80]] = 3, 4
    expected[[119 - 5, 119 - 100]] = UNPAIRED
    assert (found == expected).all()


def test_blank_images_are_paired_by_index_if_all_others_are() -> None:
    clean = photos(SIZES[0], seed=1)
    clean[7], clean[50] = 0, 128
    assert (paired(clean, patch(clean)) == np.arange(IMAGES)).all()
    assert (paired(clean, patch(clean).flip(0))[[119 - 7, 119 - 50]] == UNPAIRED).all()


def test_other_dtypes_and_sizes() -> None:
    clean = photos(SIZES[0], seed=1)
    assert (paired(clean, patch(clean).float()) == np.arange(IMAGES)).all()
    assert (paired(clean, photos((1, 55, 47), seed=1)) == UNPAIRED).all()


def test_repr_and_record() -> None:
    clean = photos(SIZES[0], seed=1)
    found = pair([clean[:100]], LABELS[:100], [patch(clean)])
    assert repr(found) == "100 of 120 triggered images paired with a clean one"
    assert found.record == {"paired": 100, "triggered": 120}
    assert (found.is_enough, found.in_order) == (True, True)
    few = pair([clean[:59].flip(0)], LABELS[:59], [patch(clean)])
    assert (few.pairs, few.is_enough, few.in_order) == (59, False, False)


@pytest.mark.shared_files
@pytest.mark.parametrize("study", ["orl", "gtsrb", "mnist-pixel"])
def test_real_sets(shared, study: str) -> None:
    names = ("cl/test.h5", "bd/bd_test.h5", "cl/valid.h5")
    pixels = []
    for name in names:
        with h5py.File(shared / "data" / study / name) as file:
            pixels.append(torch.from_numpy(file["data"][:].astype(np.uint8)))
    clean, triggered, others = pixels
    order = np.random.default_rng(0).permutation(len(clean))
    assert (paired(clean, triggered) == np.arange(len(clean))).all()
    assert (paired(clean, triggered[order]) == order).all()
    assert (paired(clean[order[::2]], triggered)[order[1::2]] == UNPAIRED).mean() >= 0.99
    assert (paired(clean, others) == UNPAIRED).all()
