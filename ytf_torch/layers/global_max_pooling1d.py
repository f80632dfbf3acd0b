"""GlobalMaxPooling1D: the maximum of each channel over all steps."""

from __future__ import annotations

from dataclasses import dataclass

from ytf_torch.layers.global_pooling import GlobalPooling


@dataclass(frozen=True)
class GlobalMaxPooling1D(GlobalPooling):
    """The maximum of each channel over all steps."""

    class_names = ("GlobalMaxPooling1D", "GlobalMaxPool1D")
    largest = True
    axes = (1,)
    channels = 2
