"""Real Keras, for the tests that ask it: tf_keras is Keras 2, keras is Keras 3."""

from __future__ import annotations

import importlib
import os
from typing import Any


def real_keras(library: str) -> Any:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    return importlib.import_module(library)
