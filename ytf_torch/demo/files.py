"""A BadNet and face sets to try everything on, as files in the lab's layout."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ytf_torch.convert.keras.keras_writer import write_keras_h5
from ytf_torch.demo.badnet import PIXEL_SCALE
from ytf_torch.demo.study import DRAWN, EPOCHS, best_source, make_study
from ytf_torch.progress import Track, untracked


@dataclass(frozen=True)
class DemoFiles:
    """Paths of a Keras BadNet and its image sets. credit: the source of the photos.

    >>> names = ("bd_net.h5", "valid.h5", "test.h5", "bd_test.h5")
    >>> files = DemoFiles(*map(Path, names), pixel_scale=1.0, credit="")
    >>> ytf_torch.evaluate(files.model, files.clean_test).model
    clean accuracy: 100.00 % (86.20–100.00), 24 of 24
    """

    model: Path
    clean_valid: Path
    clean_test: Path
    poisoned_test: Path
    pixel_scale: float
    credit: str


def demo_files(
    folder: str | Path,
    faces: Literal["best", "drawn"] = "best",
    *,
    seed: int = 0,
    epochs: int | None = None,
    track: Track = untracked,
) -> DemoFiles:
    """Train a BadNet on the demo's faces, which takes a minute or two, or use an existing folder.

    faces: "best" uses face photos if the extra `demo` is installed, else drawn faces. epochs: by
    default the number that ytf-demo uses.
    Raises InputError if the folder cannot be written.

    >>> files = demo_files("demo", "drawn", epochs=1)
    >>> files.model
    PosixPath('demo/models/bd_net.h5')
    """
    source, folder = DRAWN if faces == "drawn" else best_source(), Path(folder)
    if not (folder / "models" / "bd_net.h5").exists():
        count = EPOCHS[source.name] if epochs is None else epochs
        done = track("training a BadNet", count, "epochs")
        make_study(source, seed, folder, write_keras_h5, count, lambda *_: done(1))
    return DemoFiles(
        folder / "models" / "bd_net.h5",
        folder / "cl" / "valid.h5",
        folder / "cl" / "test.h5",
        folder / "bd" / "bd_test.h5",
        PIXEL_SCALE,
        source.credit,
    )
