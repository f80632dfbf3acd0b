"""GlobalAveragePooling1D: the mean of each channel over all steps."""

from __future__ import annotations

from dataclasses import dataclass

from ytf_torch.layers.global_pooling import GlobalPooling


@dataclass(frozen=True)
class GlobalAveragePooling1D(GlobalPooling):
    """The mean of each channel over all steps."""

    class_names = ("GlobalAveragePooling1D", "GlobalAvgPool1D")
    linear = True
    axes = (1,)
    channels = 2
