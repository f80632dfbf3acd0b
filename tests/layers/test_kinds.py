"""Every kind of layer, setting by setting: read, written back, computed, exported."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.made.layer_cases import CASES, LayerCase
from tests.made.real_keras import real_keras
from ytf_torch.layers.axes import channels_last, keras_shape
from ytf_torch.layers.kind import Kind
from ytf_torch.layers.registry import read_layer

every_case = pytest.mark.parametrize("case", CASES, ids=str)


def layer_of(case: LayerCase) -> Kind:
    return read_layer(case.class_name, case.config, "test", *case.inputs)


def random_inputs(case: LayerCase, dtype: torch.dtype = torch.float32) -> list[Tensor]:
    generator = torch.Generator().manual_seed(len(str(case)))
    return [torch.randn(2, *shape, generator=generator, dtype=dtype) for shape in case.inputs]


def with_random_weights(case: LayerCase, dtype: torch.dtype = torch.float32) -> nn.Module:
    """The layer's module; its variances are positive."""
    kind = layer_of(case)
    module = kind.module(*case.inputs).to(dtype)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weight in kind.weights(*case.inputs):
            drawn = torch.rand(weight.shape, generator=generator, dtype=dtype)
            getattr(module, weight.name).copy_(
                drawn + 0.1 if weight.start == "ones" else drawn - 0.5
            )
    return module.eval()


@every_case
def test_its_own_settings_give_the_layer_back(case: LayerCase) -> None:
    kind = layer_of(case)
    again = read_layer(kind.keras_class, kind.own_settings(), "test", *case.inputs)
    assert again == kind


@every_case
def test_what_it_computes_has_the_shape_that_it_states(case: LayerCase) -> None:
    kind = layer_of(case)
    with torch.inference_mode():
        output = with_random_weights(case)(*random_inputs(case))
    assert tuple(output.shape[1:]) == tuple(kind.output_shape(*case.inputs))
    assert kind.multiply_adds(*case.inputs) >= 0
    assert kind.workspace(*case.inputs) >= 0


@every_case
def test_its_module_holds_the_weights_that_it_states(case: LayerCase) -> None:
    kind = layer_of(case)
    module = kind.module(*case.inputs)
    stated = {weight.name: weight for weight in kind.weights(*case.inputs)}
    shapes = {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}
    assert shapes == {name: tuple(weight.shape) for name, weight in stated.items()}
    trained = {name for name, weight in stated.items() if weight.trained}
    assert {name for name, _ in module.named_parameters()} == trained


def keras_answer(library: str, case: LayerCase, inputs: list[Tensor], module: nn.Module) -> Any:
    """What Keras's layer computes from the same inputs and weights; None where it knows no such
    layer."""
    keras = real_keras(library)
    kind = layer_of(case)
    config = {**case.config}
    if config.get("activation") == "hard_sigmoid_3":
        config["activation"] = "hard_sigmoid"
    layer = getattr(keras.layers, case.class_name)(**config)
    arrays = [channels_last(tensor).numpy() for tensor in inputs]
    layer(arrays[0] if len(arrays) == 1 else arrays)
    layer.set_weights(
        [
            weight.to_keras(getattr(module, weight.name).detach().numpy())
            for weight in kind.weights(*case.inputs)
        ]
    )
    if hasattr(layer, "finalize_state"):  # which loading a file does too
        layer.finalize_state()
    return np.asarray(layer(arrays[0] if len(arrays) == 1 else arrays))


@pytest.mark.real_keras
@pytest.mark.parametrize("library", ["tf_keras", "keras"])
@every_case
def test_keras_computes_the_same(case: LayerCase, library: str) -> None:
    if case.only not in (None, library):
        pytest.skip(f"of {case.only}")
    inputs, module = random_inputs(case), with_random_weights(case)
    theirs = keras_answer(library, case, inputs, module)
    with torch.inference_mode():
        ours = channels_last(module(*inputs)).numpy()
    assert theirs.shape == ours.shape
    assert theirs.shape[1:] == keras_shape(layer_of(case).output_shape(*case.inputs))
    assert np.abs(theirs - ours).max() <= 1e-5 * np.abs(theirs).max()


@pytest.mark.real_keras
@pytest.mark.filterwarnings("ignore:Argument `alpha` is deprecated")
@pytest.mark.parametrize("library", ["tf_keras", "keras"])
@every_case
def test_keras_builds_it_from_the_settings_that_are_written(case: LayerCase, library: str) -> None:
    if case.only not in (None, library):
        pytest.skip(f"of {case.only}")
    kind = layer_of(case)
    keras = real_keras(library)
    layer = getattr(keras.layers, kind.keras_class).from_config(
        {"name": "x", **kind.keras_settings()}
    )
    written = json.loads(json.dumps(layer.get_config(), default=lambda array: array.tolist()))
    if written.get("activation") == "hard_sigmoid" and library == "keras":
        written["activation"] = "hard_sigmoid_3"
    again = read_layer(kind.keras_class, written, "test", *case.inputs)
    assert rounded(again.keras_settings()) == rounded(kind.keras_settings())


def rounded(settings: dict[str, Any]) -> dict[str, Any]:
    """Settings whose numbers are float32, as Keras 2 keeps some."""
    return {
        name: np.float32(value) if isinstance(value, float) else value
        for name, value in settings.items()
    }


class OneLayer:
    """An ONNX graph of one layer."""

    def __init__(self, double: bool) -> None:
        self.double = double
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def node(self, kind: str, inputs: list[str], output: str, **attributes: Any) -> str:
        from onnx import helper

        self.nodes.append(helper.make_node(kind, inputs, [output], **attributes))
        return output

    def constant(self, name: str, array: np.ndarray) -> str:
        from onnx import numpy_helper

        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def number(self, name: str, value: float) -> str:
        return self.constant(name, np.array(value, np.float64 if self.double else np.float32))


@pytest.mark.parametrize("double", [False, True], ids=["float32", "float64"])
@every_case
def test_onnxruntime_computes_the_same(case: LayerCase, double: bool) -> None:
    onnx = pytest.importorskip("onnx")
    onnxruntime = pytest.importorskip("onnxruntime")
    if double and case.config.get("activation") == "gelu":
        pytest.skip("refused: onnxruntime has no Erf in float64")
    dtype = torch.float64 if double else torch.float32
    inputs, module, kind = (
        random_inputs(case, dtype),
        with_random_weights(case, dtype),
        layer_of(case),
    )
    nodes, helper = OneLayer(double), onnx.helper
    names = [f"in_{number}" for number in range(len(inputs))]
    end = kind.onnx(nodes, module, names, "out", *case.inputs)
    type_ = onnx.TensorProto.DOUBLE if double else onnx.TensorProto.FLOAT
    graph = helper.make_graph(
        nodes.nodes,
        "layer",
        [
            helper.make_tensor_value_info(name, type_, ["batch", *shape])
            for name, shape in zip(names, case.inputs, strict=True)
        ],
        [helper.make_tensor_value_info(end, type_, ["batch", *kind.output_shape(*case.inputs)])],
        nodes.constants,
    )
    opset = [helper.make_opsetid("", 15)]
    model = helper.make_model(graph, opset_imports=opset, ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    feed = {name: tensor.numpy() for name, tensor in zip(names, inputs, strict=True)}
    theirs = session.run(None, feed)[0]
    with torch.inference_mode():
        ours = module(*inputs).numpy()
    assert theirs.shape == ours.shape
    assert np.abs(theirs - ours).max() <= (1e-12 if double else 1e-5) * np.abs(ours).max()
