"""GlobalMaxPooling2D: the maximum of each channel over all positions."""

from __future__ import annotations

from dataclasses import dataclass

from ytf_torch.layers.global_pooling import GlobalPooling


@dataclass(frozen=True)
class GlobalMaxPooling2D(GlobalPooling):
    """The maximum of each channel over all positions."""

    class_names = ("GlobalMaxPooling2D", "GlobalMaxPool2D")
    largest = True
