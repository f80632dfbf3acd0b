"""GlobalMaxPooling2D: the largest value of each channel of maps."""

from __future__ import annotations

from dataclasses import dataclass

from ytf_torch.layers.global_pooling import GlobalPooling


@dataclass(frozen=True)
class GlobalMaxPooling2D(GlobalPooling):
    """The largest value of each channel of maps."""

    class_names = ("GlobalMaxPooling2D", "GlobalMaxPool2D")
    largest = True
