from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from tests.conftest import ROOT
from tests.made.keras_files import LAB, SMALL, WIDE
from ytf_torch.errors import InputError
from ytf_torch.network.deepid import DeepIDSizes, deepid, deepid_graph
from ytf_torch.network.module import Network
from ytf_torch.network.pruned_layer import maps_of

LAB_GRAPH = deepid_graph(LAB)


@pytest.mark.parametrize("sizes", [SMALL, WIDE, LAB])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32, torch.float64])
def test_pixels_of_any_dtype_become_logits(sizes: DeepIDSizes, dtype: torch.dtype) -> None:
    model = deepid(sizes).eval()
    with torch.inference_mode():
        assert model(torch.zeros(2, *sizes.input_shape, dtype=dtype)).shape == (2, sizes.classes)


def test_sizes_are_read_off_the_weights() -> None:
    for sizes in (SMALL, WIDE, LAB):
        shapes = {name: tuple(t.shape) for name, t in deepid(sizes).state_dict().items()}
        assert DeepIDSizes.of_shapes(shapes, sizes.input_size, "test") == sizes


def test_lab_sizes() -> None:
    maps = (maps_of(LAB_GRAPH, name) for name in LAB_GRAPH.convolutions)
    assert {name: LAB_GRAPH.shapes[name][1:] for name in maps} == {
        "pool_1": (26, 22),
        "pool_2": (12, 10),
        "pool_3": (5, 4),
        "conv_4": (4, 3),
    }
    assert LAB.parameter_shapes()["fc_1.weight"] == (160, 5 * 4 * 60)
    assert LAB.parameter_shapes()["fc_2.weight"] == (160, 4 * 3 * 80)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"fc_1.weight": (160, 1201)},
            r"fc_1\.weight: expected \(160, 1200\).*found \(160, 1201\)",
        ),
        ({"conv_2.weight": (40, 21, 3, 3)}, r"conv_2\.weight: expected \(40, 20, 3, 3\)"),
        ({"conv_3.bias": (59,)}, r"conv_3\.bias"),
        ({"output.bias": None}, r"missing output\.bias"),
        ({"conv_5.weight": (1,)}, r"unexpected conv_5\.weight"),
        ({"conv_1.weight": (20, 3, 16)}, "4 dimensions"),
        ({"conv_1.weight": (0, 3, 4, 4)}, "none empty"),
    ],
)
def test_shapes_that_do_not_fit_are_named(change: dict[str, tuple[int, ...]], message: str) -> None:
    shapes = {name: shape for name, shape in (LAB.parameter_shapes() | change).items() if shape}
    with pytest.raises(InputError, match=message):
        DeepIDSizes.of_shapes(shapes, (55, 47), "net.h5")


def test_faces_too_small_for_the_kernels_are_refused() -> None:
    with pytest.raises(InputError, match="too small"):
        DeepIDSizes.of_shapes(LAB.parameter_shapes(), (20, 20), "net.h5")


@pytest.mark.parametrize("shape", [(2, 3, 47, 55), (2, 55, 47, 3), (3, 55, 47)])
def test_a_wrong_image_size_is_named(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"expected \(batch, 3, 55, 47\)"):
        deepid(SMALL)(torch.zeros(shape))


def test_the_pixel_scale_is_the_models_own() -> None:
    raw, scaled = deepid(SMALL), deepid(SMALL, pixel_scale=1 / 255)
    scaled.load_state_dict(raw.state_dict())
    pixels = torch.randint(0, 256, (4, 3, 55, 47), dtype=torch.uint8)
    with torch.inference_mode():
        torch.testing.assert_close(scaled(pixels), raw(pixels.float() / 255))
        assert torch.equal(scaled.scale(pixels), pixels.float() / 255)


def test_precision_is_that_of_the_weights() -> None:
    state = {name: tensor.double() for name, tensor in deepid(SMALL).state_dict().items()}
    model = Network.of_state(deepid_graph(SMALL), state, 1.0, "a state")
    assert (model.dtype, model.training) == (torch.float64, False)
    with torch.inference_mode():
        assert model(torch.zeros(1, 3, 55, 47)).dtype == torch.float64


def test_a_network_is_built_without_loading_symbolic_mathematics() -> None:
    """PyTorch imports sympy for some operations on meta tensors, which costs half a second."""
    code = (
        "import sys, torch\n"
        "from tests.made.keras_files import SMALL\n"
        "from ytf_torch.network.deepid import deepid, deepid_graph\n"
        "from ytf_torch.network.module import Network\n"
        "state = deepid(SMALL).state_dict()\n"
        "Network.of_state(deepid_graph(SMALL), state, 1.0, '')"
        "(torch.zeros(1, *SMALL.input_shape))\n"
        "print('sympy' in sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout == "False\n"


def test_a_network_of_a_state_holds_its_own_copies_channels_last() -> None:
    state = deepid(SMALL).double().state_dict()
    model = Network.of_state(deepid_graph(SMALL), state, 1.0, "a state")
    assert model.dtype == torch.float64
    assert model.conv_3.weight.is_contiguous(memory_format=torch.channels_last)
    before = model.fc_1.weight.clone()
    state["fc_1.weight"].zero_()
    assert torch.equal(model.fc_1.weight, before)
