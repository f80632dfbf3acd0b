"""The registry of layer kinds, by Keras class. A new kind is one file and one line here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ytf_torch.errors import InputError, mismatch, printable
from ytf_torch.layers.activation import ActivationLayer
from ytf_torch.layers.add import Add
from ytf_torch.layers.average import Average
from ytf_torch.layers.average_pooling2d import AveragePooling2D
from ytf_torch.layers.batch_normalization import BatchNormalization
from ytf_torch.layers.concatenate import Concatenate
from ytf_torch.layers.conv2d import Conv2D
from ytf_torch.layers.conv2d_transpose import Conv2DTranspose
from ytf_torch.layers.cropping2d import Cropping2D
from ytf_torch.layers.dense import Dense
from ytf_torch.layers.depthwise_conv2d import DepthwiseConv2D
from ytf_torch.layers.elu import ELU
from ytf_torch.layers.flatten import Flatten
from ytf_torch.layers.global_average_pooling1d import GlobalAveragePooling1D
from ytf_torch.layers.global_average_pooling2d import GlobalAveragePooling2D
from ytf_torch.layers.global_max_pooling1d import GlobalMaxPooling1D
from ytf_torch.layers.global_max_pooling2d import GlobalMaxPooling2D
from ytf_torch.layers.input_layer import InputLayer
from ytf_torch.layers.kind import Kind
from ytf_torch.layers.layer_normalization import LayerNormalization
from ytf_torch.layers.leaky_relu import LeakyReLU
from ytf_torch.layers.max_pooling2d import MaxPooling2D
from ytf_torch.layers.maximum import Maximum
from ytf_torch.layers.minimum import Minimum
from ytf_torch.layers.multiply import Multiply
from ytf_torch.layers.normalization import Normalization
from ytf_torch.layers.permute import Permute
from ytf_torch.layers.prelu import PReLU
from ytf_torch.layers.relu import ReLU
from ytf_torch.layers.rescaling import Rescaling
from ytf_torch.layers.reshape import Reshape
from ytf_torch.layers.resizing import Resizing
from ytf_torch.layers.separable_conv2d import SeparableConv2D
from ytf_torch.layers.settings import Settings
from ytf_torch.layers.softmax import Softmax
from ytf_torch.layers.subtract import Subtract
from ytf_torch.layers.up_sampling2d import UpSampling2D
from ytf_torch.layers.weight import Shape
from ytf_torch.layers.zero_padding2d import ZeroPadding2D

KINDS: list[type[Kind]] = [
    ActivationLayer,
    Add,
    Average,
    AveragePooling2D,
    BatchNormalization,
    Concatenate,
    Conv2D,
    Conv2DTranspose,
    Cropping2D,
    Dense,
    DepthwiseConv2D,
    ELU,
    Flatten,
    GlobalAveragePooling1D,
    GlobalAveragePooling2D,
    GlobalMaxPooling1D,
    GlobalMaxPooling2D,
    InputLayer,
    LayerNormalization,
    LeakyReLU,
    Maximum,
    MaxPooling2D,
    Minimum,
    Multiply,
    Normalization,
    Permute,
    PReLU,
    ReLU,
    Rescaling,
    Reshape,
    Resizing,
    SeparableConv2D,
    Softmax,
    Subtract,
    UpSampling2D,
    ZeroPadding2D,
]
# Layers that are the identity at inference: they are left out of the network. Cast is one, because
# the whole network computes in one precision. Keras writes it from 3.3 on.
IDENTITIES = frozenset(
    {
        *("Dropout", "SpatialDropout1D", "SpatialDropout2D", "SpatialDropout3D"),
        *("AlphaDropout", "GaussianDropout", "GaussianNoise", "ActivityRegularization"),
        *("Cast", "Identity"),
        *("RandomFlip", "RandomRotation", "RandomZoom", "RandomTranslation", "RandomContrast"),
        *("RandomBrightness", "RandomHue", "RandomShear", "RandomColorJitter", "RandomGrayscale"),
        *("RandomErasing", "RandomGaussianBlur", "RandomInvert", "RandomPerspective"),
        *("RandomElasticTransform", "RandomSaturation", "RandomSharpness", "RandomHeight"),
        *("RandomWidth", "RandomColorDegeneration", "RandomPosterization"),
        *("RandAugment", "AugMix", "MixUp", "CutMix"),
    }
)


def register(kind: type[Kind]) -> type[Kind]:
    """Add a kind of layer from outside the package. Can be used as a decorator."""
    KINDS.append(kind)
    return kind


def kind_named(class_name: str) -> type[Kind] | None:
    """The kind that reads a Keras class, None if there is none. Of several kinds the one that was
    registered last is used."""
    return next((kind for kind in reversed(KINDS) if class_name in kind.class_names), None)


def known_classes() -> frozenset[str]:
    """The Keras classes of layers that are read, including the identities at inference."""
    return IDENTITIES.union(*(kind.class_names for kind in KINDS))


def read_layer(class_name: str, config: Mapping[str, Any], where: object, *inputs: Shape) -> Kind:
    """Read a layer from its Keras configuration.

    inputs: the shapes of its inputs. where: the place that an error names. Raises InputError for a
    class or a setting that is not supported, and for inputs that the layer cannot read.
    """
    kind = kind_named(class_name)
    if kind is None:
        known = ", ".join(sorted({name for kind in KINDS for name in kind.class_names[:1]}))
        raise mismatch(
            where, f"a layer of a class that is known ({known})", printable(class_name)[:80]
        )
    settings = Settings(config, where)
    layer = kind.of_keras(settings, *inputs)
    settings.finish()  # every setting has been read, or is refused here
    try:
        layer.output_shape(*inputs)
    except ValueError as error:
        raise InputError(where, f"{class_name} {error}") from error
    return layer
