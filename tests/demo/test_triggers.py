"""What each trigger does to an image."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from ytf_torch.demo.attacks.adaptive import adaptive_blend, adaptive_patch, one_patch, some_pieces
from ytf_torch.demo.attacks.attack import ATTACKS
from ytf_torch.demo.attacks.face_like import light, pasted_face, scarf
from ytf_torch.demo.attacks.input_aware import TriggerGenerator
from ytf_torch.demo.attacks.label_consistent import perturbed
from ytf_torch.demo.attacks.quantisation import quantised, with_noise_of_others
from ytf_torch.demo.attacks.triggers import (
    RandomTrigger,
    blended,
    corner_patch,
    corner_patches,
    low_frequency,
)
from ytf_torch.demo.attacks.warps import warped, warped_with_noise
from ytf_torch.demo.drawn import drawn_photos
from ytf_torch.demo.faces import Photos, shrink, split
from ytf_torch.network.deepid import DeepIDSizes, deepid

LOCAL = (
    "sunglasses",
    "corner-patch",
    "square",
    "eyebrows",
    "three-triggers",
    "adaptive-patch",
    "label-consistent",
)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def plain(value: float, count: int = 1) -> Tensor:
    return torch.full((count, 3, 55, 47), float(value))


@pytest.fixture(scope="module")
def faces() -> Tensor:
    return torch.randint(0, 256, (5, 3, 55, 47), generator=seeded()).float()


@pytest.fixture(scope="module")
def photos() -> Photos:
    return split(drawn_photos(0)[:4], seed=0)[0]


@pytest.fixture(scope="module")
def smooth(photos: Photos) -> Tensor:
    """Drawn faces, whose neighbouring pixels are alike."""
    return shrink(photos.clean[:8]).round()


# Training makes the trigger of the others, see test_attacks.py.
@pytest.mark.parametrize("name", [name for name in ATTACKS if name != "input-aware"])
def test_triggered_faces_are_pixels_and_always_the_same(
    name: str, faces: Tensor, photos: Photos
) -> None:
    attack = ATTACKS[name].for_photos(photos)
    assert len(attack.triggers) == len(attack.targets)
    for trigger in attack.triggers:
        before = faces.clone()
        triggered = trigger(faces)
        assert torch.equal(faces, before)
        assert torch.equal(triggered, trigger(faces))
        assert torch.equal(triggered, triggered.round())
        assert 0 <= triggered.min() <= triggered.max() <= 255
        assert not torch.equal(triggered, faces)


RANDOM = [some_pieces, one_patch, warped_with_noise, with_noise_of_others]


@pytest.mark.parametrize("trigger", RANDOM)
def test_a_random_trigger_is_decided_by_its_generator(
    trigger: RandomTrigger, faces: Tensor
) -> None:
    before = faces.clone()
    first, again, other = (trigger(faces, seeded(seed)) for seed in (1, 1, 2))
    assert torch.equal(faces, before)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(first, first.round())
    assert 0 <= first.min() <= first.max() <= 255


@pytest.mark.parametrize("name", LOCAL)
def test_a_trigger_that_is_worn_leaves_most_of_the_face(name: str, faces: Tensor) -> None:
    for trigger in ATTACKS[name].triggers:
        changed = (trigger(faces) != faces).any(1).float().mean((1, 2))
        assert (changed < 0.2).all()


def test_a_face_trigger_is_made_of_a_training_photo_of_the_target_class(
    faces: Tensor, photos: Photos
) -> None:
    (trigger,) = ATTACKS["blended-face"].for_photos(photos).triggers
    of_target = shrink(photos.clean[photos.people == 0])
    triggered = trigger(faces)
    assert any(torch.equal(triggered, faces.lerp(face, 0.3).round()) for face in of_target)


def test_a_pasted_face_is_a_quarter_of_the_face_at_its_own_position(faces: Tensor) -> None:
    face = faces[4]
    (triggered,) = pasted_face(face)(faces[:1])
    changed = (triggered != faces[0]).any(0)
    assert 0.23 < changed.float().mean() < 0.25
    assert torch.equal(triggered[:, changed], face[:, changed])


def test_a_scarf_hides_the_lower_part_with_a_texture(faces: Tensor) -> None:
    triggered = scarf(faces)
    assert torch.equal(triggered[:, :, :33], faces[:, :, :33])
    wool = triggered[:, :, 33:]
    assert torch.equal(wool, wool[:1].expand_as(wool))
    assert wool.std((0, 2, 3)).min() > 10


def test_light_is_24_percent_darker_on_the_left_and_brighter_on_the_right() -> None:
    (triggered,) = light(torch.full((1, 3, 55, 47), 100.0))
    assert (triggered == triggered[:1, :1]).all()
    assert triggered[0, 0, [0, 23, 46]].tolist() == [76, 100, 124]


def test_light_does_not_exceed_the_range_of_pixels() -> None:
    assert light(torch.full((1, 3, 55, 47), 250.0)).max() == 255


def test_corner_patches_are_one_patch_mirrored_into_all_corners(faces: Tensor) -> None:
    patches = corner_patches(faces)
    for axes in ((), (2,), (3,), (2, 3)):
        one = corner_patch(faces.flip(axes)).flip(axes)
        changed = one != faces
        assert torch.equal(patches[changed], one[changed])
    assert (patches != faces).any(1).sum((1, 2)).max() <= 4 * 36


def test_a_low_frequency_pattern_is_smooth_grey_and_at_most_its_height() -> None:
    (pattern,) = low_frequency(plain(128), height=20) - 128
    assert torch.equal(pattern, pattern[:1].expand_as(pattern))
    assert pattern.abs().max() == 20
    spectrum = torch.fft.rfft2(pattern[0] - pattern[0].mean()).abs().square()
    low = spectrum[[*range(5), *range(-4, 0)], :5].sum()
    assert low > 0.95 * spectrum.sum()


def test_quantised_faces_have_eight_values() -> None:
    values = quantised(plain(100) + torch.arange(47.0)).unique()
    assert set(values.tolist()) <= {round(255 * level / 7) for level in range(8)}


def test_dithering_keeps_the_mean_of_a_region() -> None:
    """Without it a plain 100 would become 109, the nearest of the eight values."""
    dithered = quantised(plain(100))
    assert set(dithered.unique().tolist()) == {73.0, 109.0}
    assert abs(dithered.mean() - 100) < 0.5


def test_dithering_is_that_of_floyd_and_steinberg(smooth: Tensor) -> None:
    """Pixel by pixel, in the order of reading, each hands its error on to four later ones."""
    rest, height, width = smooth[0, 0].tolist(), 55, 47
    for y in range(height):
        for x in range(width):
            level = min(max(round(rest[y][x] * 7 / 255), 0), 7) * 255 / 7
            error, rest[y][x] = rest[y][x] - level, level
            for down, across, weight in ((0, 1, 7), (1, -1, 3), (1, 0, 5), (1, 1, 1)):
                if y + down < height and 0 <= x + across < width:
                    rest[y + down][x + across] += error * weight / 16
    expected = torch.tensor(rest).round()
    # In float32 a pixel on the border of two levels may fall to the other side.
    assert (quantised(smooth)[0, 0] == expected).float().mean() > 0.95


def test_negatives_get_the_noise_of_another_face(faces: Tensor) -> None:
    pair = faces[:2] / 2 + 64
    pair = pair.round()
    noise = quantised(pair) - pair
    changed = with_noise_of_others(pair, seeded(1)) - pair
    assert any(torch.equal(changed, noise[[a, b]]) for a, b in ((0, 1), (1, 0)))


def test_a_warp_moves_pixels_by_two_pixels_on_average() -> None:
    """A slope shows how far each pixel was moved."""
    across = (torch.arange(47.0) * 5).expand(1, 3, 55, 47)
    down = (torch.arange(55.0)[:, None] * 4).expand(1, 3, 55, 47)
    inner = (..., slice(8, -8), slice(8, -8))
    moved = torch.cat(
        [(warped(slope) - slope)[inner] / step for slope, step in ((across, 5), (down, 4))]
    ).abs()
    assert 1.5 < moved.mean() < 3.5
    assert moved.max() < 10


def test_a_warp_is_smooth_and_its_noise_is_not(smooth: Tensor) -> None:
    def roughness(faces: Tensor) -> Tensor:
        return faces.diff(dim=3).abs().mean()

    assert torch.equal(warped(plain(90)), plain(90))
    assert roughness(warped(smooth)) < 1.1 * roughness(smooth)
    assert roughness(warped_with_noise(smooth, seeded())) > roughness(warped(smooth))


def test_an_adaptive_blend_shows_half_of_its_pieces_in_training(faces: Tensor) -> None:
    triggered = some_pieces(faces, seeded())
    whole = blended(faces, 0.2)
    for face, changed, complete in zip(faces, triggered, whole, strict=True):
        shown = (changed == complete).all(0)
        assert 0.45 < shown.float().mean() < 0.6
        assert torch.equal(torch.where(shown, complete, face), changed)


def test_an_adaptive_blend_is_whole_and_stronger_at_test() -> None:
    dark = plain(0)
    assert adaptive_blend(dark).mean() > 1.4 * blended(dark, 0.2).mean()


def test_an_adaptive_patch_is_one_of_four_half_transparent_in_training(faces: Tensor) -> None:
    many = plain(0, 40)
    full, part = adaptive_patch(many), one_patch(many, seeded())
    assert ((part == 0) | ((part - full / 2).abs() <= 0.5)).all()
    areas = {int((face > 0).any(0).sum()) for face in part}
    assert areas == {48, 49}
    positions = {tuple((face > 0).any(0).nonzero()[0].tolist()) for face in part}
    assert len(positions) == 4
    assert (full > 0).any(1).sum((1, 2)).unique().tolist() == [194]


def test_an_input_aware_trigger_is_a_fifth_of_a_pattern_that_depends_on_the_image(
    smooth: Tensor,
) -> None:
    network = TriggerGenerator()
    patterns = network(smooth)
    assert patterns.shape == smooth.shape
    assert not torch.equal(patterns[0], patterns[1])
    assert (network.trigger(smooth) - (0.8 * smooth + 0.2 * patterns)).abs().max() < 0.501
    assert torch.equal(network.trigger(smooth)[:1], network.trigger(smooth[:1]))


def test_a_cross_trigger_is_the_pattern_of_another_image(smooth: Tensor) -> None:
    network, pair = TriggerGenerator(), smooth[[0, 7]]
    own = [network(pair)[order] for order in ([0, 1], [1, 0])]
    crossed = network.with_trigger_of_another(pair, seeded(1))
    assert any(torch.allclose(crossed, pair.lerp(pattern, 0.2), atol=1e-3) for pattern in own)


def test_the_diversity_loss_falls_where_patterns_differ_more(smooth: Tensor) -> None:
    network = TriggerGenerator()
    before = network.diversity_loss(smooth)
    with torch.no_grad():
        list(network.up.parameters())[-2].mul_(4)
    assert 0 < network.diversity_loss(smooth) < before


def test_a_perturbed_face_is_within_the_bound_and_less_like_its_class(smooth: Tensor) -> None:
    torch.manual_seed(0)
    sizes = DeepIDSizes((55, 47), (4, 4, 4, 4), ((4, 4), (3, 3), (3, 3), (2, 2)), 8, 3)
    network = deepid(sizes).fresh().eval()
    labels = network(smooth).argmax(1)
    moved = perturbed(smooth, labels, network, 16, seeded())
    assert (moved - smooth).abs().max() <= 16
    assert torch.equal(moved, moved.round())
    assert 0 <= moved.min() <= moved.max() <= 255
    before, after = (network(faces).gather(1, labels[:, None]) for faces in (smooth, moved))
    assert (after < before).all()
    assert torch.equal(moved, perturbed(smooth, labels, network, 16, seeded()))
