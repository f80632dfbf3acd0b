"""GlobalAveragePooling2D: the mean of each channel over all positions."""

from __future__ import annotations

from dataclasses import dataclass

from ytf_torch.layers.global_pooling import GlobalPooling


@dataclass(frozen=True)
class GlobalAveragePooling2D(GlobalPooling):
    """The mean of each channel over all positions."""

    class_names = ("GlobalAveragePooling2D", "GlobalAvgPool2D")
    linear = True
