"""The fast engine gives the plain engine's predictions, at every step, whatever the weights."""

from __future__ import annotations

from pathlib import Path

import h5py
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.convert.test_parity import ZOO
from tests.made.keras_files import SMALL
from tests.made.overflowing import overflowing_on_white
from tests.made.preprocessed import PREPROCESSINGS, reading_as
from ytf_torch.convert.keras.keras_file import read_keras_file
from ytf_torch.convert.keras.keras_graph import keras_checkpoint
from ytf_torch.images.batches import BATCH_SIZE, whole_batch
from ytf_torch.network.deepid import DeepIDSizes, deepid, deepid_graph
from ytf_torch.network.module import Network
from ytf_torch.network.pruned_layer import rank_points
from ytf_torch.predicted_class import NO_CLASS
from ytf_torch.sweep import contributions
from ytf_torch.sweep.fast import fast_engine
from ytf_torch.sweep.plain import PlainEngine
from ytf_torch.sweep.prepared import Prepared, group_sizes, grouped

DEEPID = deepid_graph(SMALL)

KERNELS = ((2, 3), (2, 2), (2, 1), (2, 2))
POINTS = [
    (layer, point)
    for layer in ("conv_1", "conv_2", "conv_3", "conv_4")
    for point in rank_points(DEEPID, layer)
]


def random_model(
    seed: int, classes: int = 5, channels: tuple[int, int, int, int] = (3, 4, 6, 5)
) -> Network:
    torch.manual_seed(seed)
    sizes = DeepIDSizes((27, 25), channels, KERNELS, features=7, classes=classes)
    model = deepid(sizes, pixel_scale=1 / 255).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("weight"):
                parameter.normal_(0, (2 / parameter[0].numel()) ** 0.5)
        for layer in (model.conv_3, model.conv_4):  # some channels fire rarely, some never
            layer.bias.uniform_(-0.5, 0.2)
        model.output.bias.sub_(model(pixels(50)).mean(0))
    return model


def pixels(images: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    blocks = torch.randint(0, 256, (images, 3, 5, 5), generator=generator).to(torch.uint8)
    return blocks.repeat_interleave(6, 2).repeat_interleave(5, 3)[:, :, :27, :25]


def assert_equal_predictions(
    model: Network, images: torch.Tensor, layer: str = "conv_3", rank_at: str = "pool_3"
) -> torch.Tensor:
    """Run both engines on batches as a sweep does; returns the plain engine's predictions."""
    plain, fast = PlainEngine(model, layer, rank_at), fast_engine(model, layer, rank_at)
    batches = [whole_batch(part) for part in images.split(BATCH_SIZE)]
    generator = torch.Generator().manual_seed(len(images))
    order = torch.randperm(model.convolution(layer).out_channels, generator=generator).tolist()
    with torch.inference_mode():
        for batch in batches:
            ranked, expected = fast.observe(batch)[0], plain.observe(batch)[0]
            assert torch.equal(ranked.isnan(), expected.isnan())
            assert torch.equal(ranked.nan_to_num(), expected.nan_to_num())
        expected = torch.cat([plain.predictions(batch, order) for batch in batches], dim=1)
        prepared_batches = [Prepared(fast.observe(batch)[1], batch) for batch in batches]
        groups = grouped(prepared_batches, group_sizes(len(images), fast.group, at_once=1))
        found = torch.cat([fast.predictions(group.tensor, order) for group in groups], 1)
    assert torch.equal(found, expected)
    return expected


@pytest.mark.parametrize("name", PREPROCESSINGS)
@pytest.mark.parametrize(("layer", "rank_at"), [("conv_1", "pool_1"), ("conv_3", "pool_3")])
def test_whatever_the_network_reads_of_pixels(name: str, layer: str, rank_at: str) -> None:
    model = reading_as(random_model(0), PREPROCESSINGS[name])
    predictions = assert_equal_predictions(model, pixels(300), layer, rank_at)
    assert len(predictions.unique()) > 1


@pytest.mark.parametrize(("layer", "rank_at"), POINTS)
@pytest.mark.parametrize("precision", [torch.float32, torch.float64])
def test_every_layer_and_rank_point(layer: str, rank_at: str, precision: torch.dtype) -> None:
    model = random_model(0).to(precision)
    predictions = assert_equal_predictions(model, pixels(70), layer, rank_at)
    assert (predictions != predictions[0]).any()


@pytest.mark.parametrize("images", [1, 2, 31, 63, 64, 65, 96, 127, 256, 300])
def test_batch_boundaries(images: int) -> None:
    assert_equal_predictions(random_model(1), pixels(images))


@pytest.mark.parametrize(("group_bytes", "groups"), [(0, 10), (100_000, 2), (10**9, 1)])
def test_any_size_of_groups(monkeypatch: pytest.MonkeyPatch, group_bytes: int, groups: int) -> None:
    monkeypatch.setattr(contributions, "GROUP_BYTES", group_bytes)
    model, images = random_model(8), pixels(300)
    assert -(-len(images) // fast_engine(model, "conv_3", "pool_3").group) == groups
    assert_equal_predictions(model, images)


@pytest.mark.parametrize("layer", ["conv_3", "conv_4"])
@pytest.mark.parametrize("classes", [2, 3, 32, 33, 300])
def test_any_number_of_classes(layer: str, classes: int) -> None:
    assert_equal_predictions(
        random_model(2, classes), pixels(70), layer, rank_points(DEEPID, layer)[0]
    )


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    images=st.integers(1, 140),
    channels=st.tuples(*(st.integers(1, 9),) * 4),
    classes=st.integers(2, 12),
    point=st.sampled_from(POINTS),
)
def test_random_small_networks(
    seed: int,
    images: int,
    channels: tuple[int, int, int, int],
    classes: int,
    point: tuple[str, str],
) -> None:
    assert_equal_predictions(random_model(seed, classes, channels), pixels(images, seed), *point)


@pytest.mark.parametrize("layer", ["conv_3", "conv_4"])
def test_exact_ties_between_classes(layer: str) -> None:
    model = random_model(3)
    with torch.no_grad():
        model.output.weight[3] = model.output.weight[1]
        model.output.bias[3] = model.output.bias[1] = 9
    predictions = assert_equal_predictions(model, pixels(100), layer, rank_points(DEEPID, layer)[0])
    assert (predictions == 1).all()


@pytest.mark.parametrize("layer", ["conv_3", "conv_4"])
@pytest.mark.parametrize("size", [1e3, 1e6, 1e9])
def test_huge_channels_that_cancel_and_hide_the_margin(layer: str, size: float) -> None:
    """The sum left after the large terms cancel is far below their float32 spacing (ulp)."""
    model = random_model(4)
    with torch.no_grad():
        follower = model.fc_1 if layer == "conv_3" else model.fc_2
        columns = follower.weight.view(7, model.convolution(layer).out_channels, -1)
        convolution = model.convolution(layer)
        convolution.weight[1], convolution.bias[1] = convolution.weight[0], convolution.bias[0]
        columns[:, 0] = size * columns[:, 0].sign()
        columns[:, 1] = -columns[:, 0]
    assert_equal_predictions(model, pixels(300), layer, rank_points(DEEPID, layer)[0])


@pytest.mark.parametrize("margin", [0.0, 1e-7, 1e-6, 1e-5])
def test_classes_that_are_almost_tied_on_every_image(margin: float) -> None:
    model = random_model(5)
    with torch.no_grad():
        noise = torch.randn_like(model.output.weight) * margin
        model.output.weight[:] = model.output.weight[:1] + noise
        model.output.bias.fill_(1)
    predictions = assert_equal_predictions(model, pixels(200))
    assert margin == 0 or len(predictions.unique()) > 1


@pytest.mark.parametrize("value", [1e30, torch.inf, torch.nan])
def test_logits_that_overflow(value: float) -> None:
    model = random_model(6)
    with torch.no_grad():
        model.fc_1.weight[0, :4] = value
    assert_equal_predictions(model, pixels(70))


def white(images: int) -> torch.Tensor:
    """Random images, every third with a white patch."""
    worn = pixels(images).clamp(max=200)
    worn[::3, :, 4:14, 4:14] = 255
    return worn


@pytest.mark.parametrize(("layer", "rank_at"), POINTS)
def test_faces_on_which_a_network_overflows_have_no_class(layer: str, rank_at: str) -> None:
    predictions = assert_equal_predictions(
        overflowing_on_white(random_model(9)), white(140), layer, rank_at
    )
    unpruned = predictions[0, :140]
    assert (unpruned[::3] == NO_CLASS).all()
    assert not (unpruned[1::3] == NO_CLASS).any()


@pytest.mark.parametrize("layer", ["conv_3", "conv_4"])
@pytest.mark.parametrize("classes", [5, 32])
@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("where", ["fc_1", "fc_2", "output"])
def test_overflow_behind_the_maps(layer: str, classes: int, sign: int, where: str) -> None:
    """A single unit overflows to +inf or −inf, driven by one channel of the maps."""
    model = random_model(10, classes)
    with torch.no_grad():
        weights = dict(model.named_parameters())[f"{where}.weight"]
        weights[0, :4] = sign * 3e38
    predictions = assert_equal_predictions(model, pixels(140), layer, rank_points(DEEPID, layer)[0])
    if where == "output" and classes == 5:
        assert (predictions[0] == NO_CLASS).any()


def test_a_network_that_never_fires() -> None:
    model = random_model(7)
    with torch.no_grad():
        model.conv_3.weight.zero_()
        model.conv_3.bias.fill_(-1)
    predictions = assert_equal_predictions(model, pixels(70))
    assert (predictions == predictions[0, 0]).all()


@pytest.mark.shared_files
@pytest.mark.parametrize("name", ["bd_weights", "sunglasses_bd_weights", "orl_bd_net"])
def test_published_models_on_real_faces(shared: Path, name: str) -> None:
    scale = 1 / 255 if name.startswith("sunglasses") else 1.0
    model = keras_checkpoint(read_keras_file(shared / ZOO[name]), scale).model
    with h5py.File(shared / "data" / "orl" / "bd" / "bd_test.h5") as triggered:
        images = torch.from_numpy(triggered["data"][:96].astype("uint8"))
    assert_equal_predictions(model, images)
