from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Generator, Tensor

from ytf_torch.defences.training import seeded
from ytf_torch.defences.variations import OCCLUSIONS, glasses, mix, occlude, overlay, relight, warp

VARIATIONS: dict[str, Callable[[Tensor, Generator], Tensor]] = {
    "warp": warp,
    "relight": relight,
    "mix": lambda faces, generator: mix(faces, generator, 1.0).images,
    "occlude": lambda faces, generator: occlude(faces, generator, 1.0),
    **{cover.__name__: cover for cover in OCCLUSIONS},
}


@pytest.fixture
def faces() -> Tensor:
    return torch.randint(0, 256, (40, 3, 21, 17), generator=seeded(1)).float()


@pytest.mark.parametrize("name", VARIATIONS)
def test_a_variation_is_drawn_by_its_generator_and_leaves_its_input(
    name: str, faces: Tensor
) -> None:
    before = faces.clone()
    once, again, other = (VARIATIONS[name](faces, seeded(seed)) for seed in (0, 0, 1))
    assert torch.equal(faces, before)
    assert once.shape == faces.shape
    assert torch.equal(once, again)
    assert not torch.equal(once, other)


@pytest.mark.parametrize("name", ["warp", "relight", "mix", "occlude"])
def test_a_varied_face_is_still_of_pixel_values(name: str, faces: Tensor) -> None:
    varied = VARIATIONS[name](faces, seeded(0))
    assert -1e-3 <= varied.min() <= varied.max() <= 255 + 1e-3


@pytest.mark.parametrize("share", [0.0, 0.4, 1.0])
def test_a_share_of_the_faces_is_mixed_with_others(share: float, faces: Tensor) -> None:
    many = faces.repeat(10, 1, 1, 1)
    mixture = mix(many, seeded(0), share)
    alone = mixture.unmixed
    assert torch.equal(mixture.images[alone], many[alone])
    assert (mixture.share[alone] == 0).all()
    assert float(alone.float().mean()) == pytest.approx(1 - share, abs=0.06)


def test_a_mixture_says_how_much_of_which_face_it_contains() -> None:
    """Of plain grey faces the mean brightness is that of the two faces, by their shares."""
    greys = torch.linspace(0, 250, 400)
    mixture = mix(greys.view(-1, 1, 1, 1).expand(-1, 3, 21, 17), seeded(0), 1.0)
    expected = greys.lerp(greys[mixture.others], mixture.share)
    assert torch.allclose(mixture.images.flatten(1).mean(1), expected, atol=1e-2)
    assert 0.3 < mixture.share.mean() < 0.6


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_a_share_of_the_faces_is_covered(share: float, faces: Tensor) -> None:
    many = faces.repeat(10, 1, 1, 1)
    changed = (occlude(many, seeded(0), share) != many).flatten(1).any(1)
    # A patch may lie beyond the edge of the picture.
    assert share - 0.15 <= float(changed.float().mean()) <= share + 0.06


def test_a_dark_face_stays_within_its_light(faces: Tensor) -> None:
    """More light is at most 1.25 + 0.2 + 0.2 times as much, 12 and some noise."""
    dark = torch.full((200, 3, 21, 17), 40.0)
    bright = relight(dark, seeded(0))
    assert bright.max() <= 40 * 1.65 + 12 + 3 * 6
    assert bright.flatten(1).mean(1).std() > 3


@pytest.mark.parametrize("count", [0, 1])
def test_none_or_one_face_can_be_varied(count: int, faces: Tensor) -> None:
    for name in ("relight", "mix", "occlude"):
        assert VARIATIONS[name](faces[:count], seeded(0)).shape == (count, 3, 21, 17)


def test_glasses_have_a_lens_on_either_side_at_one_height() -> None:
    grey = torch.full((40, 3, 55, 47), 128.0)
    worn = (glasses(grey, seeded(0)) != grey).any(1)
    assert torch.equal(worn, worn.flip(2))
    left, right = worn[:, :, :20], worn[:, :, -20:]
    assert left.flatten(1).any(1).all()
    assert torch.equal(left.any(2), right.any(2))


def test_another_face_is_laid_faintly_over_a_face_or_opaquely_over_a_box_of_it() -> None:
    dark, bright = torch.zeros(400, 3, 21, 17), torch.full((400, 3, 21, 17), 200.0)
    overlaid = overlay(dark, bright, seeded(0))
    assert torch.equal(overlay(dark, bright, seeded(0)), overlaid)
    flat = overlaid.flatten(1)
    faint = (flat == flat[:, :1]).all(1) & (flat[:, 0] > 0) & (flat[:, 0] < 200)
    assert ((flat[faint] >= 20) & (flat[faint] <= 90)).all()
    assert set(flat[~faint].unique().tolist()) == {0.0, 200.0}
    assert float(faint.float().mean()) == pytest.approx(0.5, abs=0.08)
