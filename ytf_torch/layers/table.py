"""Generates the documentation page of supported layers.

`python -m ytf_torch.layers.table docs/layers.md` writes it from the registry, so that it always
agrees with the code.
"""

from __future__ import annotations

import sys
from pathlib import Path

from ytf_torch.layers.activations import KNOWN, OTHER_NAMES
from ytf_torch.layers.kind import Kind
from ytf_torch.layers.registry import IDENTITIES, KINDS

HEAD = """# Layers

<!-- Written by `python -m ytf_torch.layers.table docs/layers.md`; a test compares them. -->

Networks of these kinds of Keras layers are converted. A layer of another class and a setting that
is not supported are refused by name. All layers read `channels_last` only.

- *masked*: its channels can be pruned.
- *linear*: its output before the activation is `Σ weight · input + constant`.
- *channel by channel*: each output channel depends only on the same input channel.

| Layer | what it is | also read as | masked | linear | channel by channel |
|---|---|---|---|---|---|
"""


def layers_page() -> str:
    """The page."""
    rows = sorted(map(_row, KINDS), key=str.lower)
    known = {function.keras_name for function in KNOWN.values()} | set(OTHER_NAMES)
    return (
        HEAD
        + "\n".join(rows)
        + "\n\n## Activation functions\n\nBy their names in any layer's `activation`: "
        + ", ".join(f"`{name}`" for name in sorted(known))
        + ". The definition of `hard_sigmoid` depends on the Keras version that wrote the file.\n"
        + "\n## Layers without effect at inference\n\nThey are left out: "
        + ", ".join(f"`{name}`" for name in sorted(IDENTITIES))
        + ".\n"
    )


def _row(kind: type[Kind]) -> str:
    name, *others = kind.class_names
    summary = (kind.__doc__ or "").split(".")[0].split(":")[0].replace("\n", " ")
    cells = (
        f"`{name}`",
        " ".join(summary.split()),
        ", ".join(f"`{other}`" for other in others),
        *(_answer(kind, flag) for flag in ("maskable", "linear", "channelwise")),
    )
    return f"| {' | '.join(cells)} |"


def _answer(kind: type[Kind], flag: str) -> str:
    """A cell of the table: "yes", empty for no, "depends" if the settings decide."""
    value = getattr(kind, flag)
    return "depends" if isinstance(value, property) else "yes" if value else ""


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(layers_page(), encoding="utf-8")
