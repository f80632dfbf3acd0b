"""Every kind of layer with each of its settings: reading, writing, computing, exporting."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.made.layer_cases import CASES, MAPS, UNITS, LayerCase, case
from tests.made.real_keras import real_keras
from ytf_torch.errors import InputError
from ytf_torch.layers.axes import channels_last, keras_shape
from ytf_torch.layers.kind import Kind
from ytf_torch.layers.registry import IDENTITIES, read_layer

every_case = pytest.mark.parametrize("case", CASES, ids=str)


def layer_of(case: LayerCase) -> Kind:
    return read_layer(case.class_name, case.config, "test", *case.inputs)


def random_inputs(case: LayerCase, dtype: torch.dtype = torch.float32) -> list[Tensor]:
    generator = torch.Generator().manual_seed(len(str(case)))
    return [torch.randn(2, *shape, generator=generator, dtype=dtype) for shape in case.inputs]


def with_random_weights(case: LayerCase, dtype: torch.dtype = torch.float32) -> nn.Module:
    """The layer's module with random weights; variances are positive."""
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
def test_own_settings_restore_the_layer(case: LayerCase) -> None:
    kind = layer_of(case)
    again = read_layer(kind.keras_class, kind.own_settings(), "test", *case.inputs)
    assert again == kind


@every_case
def test_the_output_has_the_stated_shape(case: LayerCase) -> None:
    kind = layer_of(case)
    with torch.inference_mode():
        output = with_random_weights(case)(*random_inputs(case))
    assert tuple(output.shape[1:]) == tuple(kind.output_shape(*case.inputs))
    assert kind.multiply_adds(*case.inputs) >= 0
    assert kind.workspace(*case.inputs) >= 0


@every_case
def test_the_module_has_the_stated_weights(case: LayerCase) -> None:
    kind = layer_of(case)
    module = kind.module(*case.inputs)
    stated = {weight.name: weight for weight in kind.weights(*case.inputs)}
    shapes = {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}
    assert shapes == {name: tuple(weight.shape) for name, weight in stated.items()}
    trained = {name for name, weight in stated.items() if weight.trained}
    assert {name for name, _ in module.named_parameters()} == trained


def keras_answer(library: str, case: LayerCase, inputs: list[Tensor], module: nn.Module) -> Any:
    """The output of Keras's layer for the same inputs and weights."""
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
    if hasattr(layer, "finalize_state"):  # Keras calls it when it loads a file
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
def test_keras_restores_the_layer_from_written_settings(case: LayerCase, library: str) -> None:
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
    """Settings rounded to float32, in which Keras 2 stores some of them."""
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


# what no kind honours, by the setting's name
REFUSED = [
    case("Conv2D", filters=4, kernel_size=[3, 3], data_format="channels_first"),
    case("Conv2D", filters=4, kernel_size=[3, 3], padding="causal"),
    case("Conv2D", filters=4, kernel_size=[3, 3], activation="sparsemax"),
    case("Dense", UNITS, units=4, lora_rank=2),
    case("DepthwiseConv2D", kernel_size=[3, 3], groups=2),
    case("DepthwiseConv2D", kernel_size=[3, 3], depth_multiplier=0),
    case("SeparableConv2D", filters=4, kernel_size=[3, 3], data_format="channels_first"),
    case("Conv2DTranspose", filters=4, kernel_size=[3, 3], dilation_rate=[2, 2]),
    case("Conv2DTranspose", filters=4, kernel_size=[3, 3], output_padding=[1, 1]),
    case("MaxPooling2D", padding="full"),
    case("AveragePooling2D", data_format="channels_first"),
    case("AveragePooling2D", pool_size=[0, 2]),
    case("GlobalAveragePooling2D", data_format="channels_first"),
    case("GlobalMaxPooling2D", keepdims="yes"),
    case("BatchNormalization", axis=1),
    case("BatchNormalization", axis=[1, 2]),
    case("BatchNormalization", renorm=True),
    case("BatchNormalization", virtual_batch_size=4),
    case("BatchNormalization", epsilon=-1.0),
    case("LayerNormalization", axis=[1, 2, 3]),
    case("LayerNormalization", rms_scaling=True),
    case("Normalization", axis=1),
    case("Normalization", invert=True),
    case("Normalization", mean=[1.0, 2.0], variance=1.0),
    case("Normalization", mean=0.0, variance=-1.0),
    case("ReLU", max_value=-1.0),
    case("ReLU", threshold="half"),
    case("LeakyReLU", alpha=[0.1, 0.2]),
    case("PReLU", shared_axes=[4]),
    case("Softmax", axis=1),
    case("Concatenate", MAPS, MAPS, axis=1),
    case("Reshape", target_shape=[3, 7, 6, 1]),
    case("Reshape", target_shape=[0, 126]),
    case("Permute", dims=[1, 2]),
    case("ZeroPadding2D", padding=[[1, -1], [0, 0]]),
    case("Cropping2D", cropping=[1, 2, 3]),
    case("UpSampling2D", interpolation="bicubic"),
    case("UpSampling2D", size=[2, 0]),
    case("Rescaling", scale=[1.0, 2.0]),
    case("Resizing", height=3, width=6, data_format="channels_first"),
]


@pytest.mark.parametrize("refused", REFUSED, ids=str)
def test_an_unsupported_setting_is_refused_by_name(refused: LayerCase) -> None:
    names = "|".join(refused.config)
    with pytest.raises(InputError, match=f"^test, ({names}): expected"):
        layer_of(refused)


UNFITTING = [
    case("Add", MAPS, (3, 6, 7)),
    case("Add", MAPS),
    case("Multiply", MAPS, UNITS),
    case("Subtract", UNITS, UNITS, UNITS),
    case("Concatenate", MAPS, (3, 6, 7)),
    case("Concatenate", UNITS),
    case("Conv2D", UNITS, filters=4, kernel_size=[3, 3]),
    case("Conv2D", filters=4, kernel_size=[3, 3], groups=2),
    case("Dense", MAPS, units=4),
    case("DepthwiseConv2D", UNITS, kernel_size=[3, 3]),
    case("GlobalMaxPooling1D", MAPS),
    case("GlobalAveragePooling2D", UNITS),
    case("BatchNormalization", (4, 3)),
    case("Activation", (4, 3), activation="softmax"),
    case("Reshape", target_shape=[5, -1]),
    case("Reshape", target_shape=[-1, -1]),
    case("Resizing", height=14, width=12),
]


@pytest.mark.parametrize("unfitting", UNFITTING, ids=str)
def test_inputs_that_a_layer_cannot_read_are_refused_with_its_class(unfitting: LayerCase) -> None:
    with pytest.raises(InputError, match=f"^test: {unfitting.class_name} "):
        layer_of(unfitting)


def test_an_unknown_setting_is_refused_by_name() -> None:
    with pytest.raises(InputError, match=r"^test, sharpness: expected a setting that ytf-torch"):
        read_layer("AveragePooling2D", {"sharpness": 2}, "test", MAPS)


RANGE = {"value_range": (0, 1)}
# Required arguments of each; the others take a `factor` or a `rate`.
IDENTITY_SETTINGS: dict[str, dict[str, Any]] = {
    "Identity": {},
    "ActivityRegularization": {},
    "RandomFlip": {},
    "CutMix": {},
    "MixUp": {},
    "GaussianNoise": {"stddev": 1.0},
    "RandomZoom": {"height_factor": 0.3},
    "RandomTranslation": {"height_factor": 0.3, "width_factor": 0.3},
    "RandomShear": {"x_factor": 0.3, "y_factor": 0.3},
    "RandAugment": RANGE,
    "AugMix": RANGE,
    "RandomColorJitter": {"brightness_factor": 0.5, **RANGE},
    "RandomHue": {"factor": 0.9, **RANGE},
    "RandomSharpness": {"factor": 0.9, **RANGE},
    "RandomInvert": {"factor": 0.9, **RANGE},
    "RandomPosterization": {"factor": 3, **RANGE},
}


@pytest.mark.real_keras
@pytest.mark.filterwarnings("ignore")  # TensorFlow's, of image operations
@pytest.mark.parametrize(
    "name", sorted(IDENTITIES - {"Cast", "SpatialDropout1D", "SpatialDropout3D"})
)
def test_layers_that_are_left_out_are_identities_in_keras(name: str) -> None:
    images = np.random.default_rng(0).random((2, 8, 8, 3), dtype=np.float32)
    libraries = [real_keras(library).layers for library in ("tf_keras", "keras")]
    known = [layers for layers in libraries if hasattr(layers, name)]
    assert known
    usual = {"rate" if "Dropout" in name else "factor": 0.5}
    for layers in known:
        layer = getattr(layers, name)(**IDENTITY_SETTINGS.get(name, usual))
        assert np.array_equal(np.asarray(layer(images, training=False)), images)
