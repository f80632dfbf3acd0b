"""What defences need from a layer's weights: its kernels, scaling its channels, rescaling its
inputs."""

from __future__ import annotations

import pytest
import torch

from tests.layers.test_kinds import layer_of, random_inputs, with_random_weights
from tests.made.layer_cases import CASES, LayerCase
from ytf_torch.layers.kind import LearnsStatistics, Tensors
from ytf_torch.layers.registry import read_layer

WEIGHTED = [
    case
    for case in CASES
    if layer_of(case).kernels(
        {weight.name: torch.ones(weight.shape) for weight in layer_of(case).weights(*case.inputs)}
    )
    is not None
]
every_case = pytest.mark.parametrize("case", WEIGHTED, ids=str)


def weights_of(case: LayerCase) -> Tensors:
    module = with_random_weights(case, torch.float64)
    names = (weight.name for weight in layer_of(case).weights(*case.inputs))
    return {name: getattr(module, name).detach() for name in names}


def sums(case: LayerCase, weights: Tensors, inputs: list[torch.Tensor]) -> torch.Tensor:
    """The layer's pre-activations."""
    kind = layer_of(case).without_activation()
    module = kind.module(*case.inputs).to(torch.float64)
    module.load_state_dict(weights)
    with torch.no_grad():
        found: torch.Tensor = module.eval()(*inputs)
    return found


def test_convolutions_dense_layers_and_batch_normalizations_have_kernels() -> None:
    assert {case.class_name for case in WEIGHTED} >= {
        *("Conv2D", "DepthwiseConv2D", "SeparableConv2D", "Conv2DTranspose", "Dense"),
        "BatchNormalization",
    }


@every_case
def test_kernels_are_the_factors_of_single_inputs(case: LayerCase) -> None:
    """The largest effect of a single input value on a channel is the largest absolute factor."""
    weights = weights_of(case)
    kernels = layer_of(case).kernels(weights)
    assert kernels is not None
    channels = layer_of(case).output_shape(*case.inputs)[0]
    assert kernels.shape[0] == channels
    nothing = torch.zeros(1, *case.inputs[0], dtype=torch.float64)
    effects = torch.zeros(channels, dtype=torch.float64)
    for place in range(nothing.numel()):
        one = nothing.flatten().clone()
        one[place] = 1
        change = sums(case, weights, [one.view_as(nothing)]) - sums(case, weights, [nothing])
        effects = torch.maximum(effects, change[0].abs().reshape(channels, -1).amax(1))
    if "Transpose" not in case.class_name:  # whose products overlap where it strides less
        torch.testing.assert_close(effects, kernels.abs().flatten(1).amax(1))


@every_case
def test_multiplied_weights_scale_each_channel(case: LayerCase) -> None:
    kind, weights, inputs = layer_of(case), weights_of(case), random_inputs(case, torch.float64)
    factors = torch.linspace(0.5, 2, kind.output_shape(*case.inputs)[0], dtype=torch.float64)
    changed = kind.multiplied(weights, factors, factors)
    if changed is None:
        assert case.class_name == "BatchNormalization"
        assert case.config["scale"] is False
        return
    before, after = sums(case, weights, inputs), sums(case, changed, inputs)
    shape = (1, -1, *[1] * (before.ndim - 2))
    torch.testing.assert_close(after, before * factors.view(shape))


@every_case
def test_rescaled_weights_give_the_same_output_for_smaller_inputs(case: LayerCase) -> None:
    kind, weights, inputs = layer_of(case), weights_of(case), random_inputs(case, torch.float64)
    changed = kind.for_smaller_input(weights, 255.0)
    if changed is None:
        assert case.class_name == "BatchNormalization"
        return
    before = sums(case, weights, inputs)
    after = sums(case, changed, [each / 255 for each in inputs])
    torch.testing.assert_close(after, before)


@pytest.mark.parametrize("learns", [True, False])
def test_batch_statistics_are_learned_only_on_request(learns: bool) -> None:
    kind = read_layer("BatchNormalization", {}, "test", (3, 4, 4))
    module = kind.module((3, 4, 4)).train()
    assert isinstance(module, LearnsStatistics)
    assert module.learns_statistics is False
    module.learns_statistics = learns
    pixels = torch.randn(8, 3, 4, 4, generator=torch.Generator().manual_seed(0)) * 2 + 5
    for _ in range(100):
        output = module(pixels).detach()
    assert (abs(float(output.mean())) < 0.01) is learns
    (mean,) = (value for name, value in module.named_buffers() if name == "mean")
    assert (abs(float(mean.mean()) - 5) < 0.5) is learns
    single = module(torch.ones(1, 3, 1, 1))
    assert bool(single.isfinite().all())
