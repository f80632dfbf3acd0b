"""The JSON record of a conversion."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ytf_torch.convert.keras.keras_file import KerasFile
from ytf_torch.convert.keras.keras_graph import parameter_rows
from ytf_torch.convert.keras.keras_oracle import KerasParity
from ytf_torch.convert.parity import Parity
from ytf_torch.network.checkpoint import Checkpoint


def conversion_record(
    file: KerasFile,
    checkpoint: Checkpoint,
    verdicts: Mapping[str, Parity | KerasParity],
    target: Path | None,
) -> dict[str, Any]:
    """The content of ytf-convert's --json file.

    verdicts: by the name of the reference they were compared with. target: the written file; None
    where parity failed.
    """
    return {
        "source": str(file.path),
        "output": None if target is None else str(target),
        "model": checkpoint.provenance.record,
        "weights": [
            {"name": name, "keras_shape": keras, "pytorch_shape": shape, "parameters": parameters}
            for name, keras, shape, parameters in parameter_rows(file, checkpoint)
        ],
        "parity": {
            name: {"held": verdict.held, "failures": verdict.failures, **asdict(verdict)}
            for name, verdict in verdicts.items()
        },
    }
