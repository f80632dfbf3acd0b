"""Pixels as uint8 wherever that holds them, whatever type a file stores them in."""

from __future__ import annotations

from typing import Any

import numpy as np


def narrow_into(narrow: np.ndarray[Any, Any], stored: np.ndarray[Any, Any]) -> bool:
    """Whether uint8 can hold all that is stored; then `narrow` does."""
    with np.errstate(invalid="ignore"):  # what has no place in uint8 is found to differ
        np.copyto(narrow, stored, casting="unsafe")
    return np.array_equal(narrow, stored)


def as_float32(stored: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The same as float32; what is too large for it becomes infinite."""
    with np.errstate(over="ignore", invalid="ignore"):
        return stored.astype(np.float32)
