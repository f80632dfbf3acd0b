"""Converts stored pixels to uint8 if that is lossless, else to float32.

Files often store whole pixel values as float64, eight times the memory.
"""

from __future__ import annotations

from typing import Any

import numpy as np


def narrow_into(narrow: np.ndarray[Any, Any], stored: np.ndarray[Any, Any]) -> bool:
    """Convert `stored` into the uint8 array `narrow`. Returns whether no value changed."""
    with np.errstate(invalid="ignore"):  # values outside uint8 are found by the comparison
        np.copyto(narrow, stored, casting="unsafe")
    return np.array_equal(narrow, stored)


def as_float32(stored: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """`stored` as float32. Values too large for it become infinite."""
    with np.errstate(over="ignore", invalid="ignore"):
        return stored.astype(np.float32)
