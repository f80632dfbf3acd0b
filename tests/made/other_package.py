"""An installed package with entry points: a folder that has to be put on Python's path."""

from __future__ import annotations

from pathlib import Path


def write_package(
    site: Path, package: str, groups: dict[str, dict[str, str]], module: str = ""
) -> Path:
    """Write a package into the folder `site`, and return that. groups: its entry points, group →
    name → object. module: the source of its module, of the same name as the package."""
    folder = site / f"{package}-1.0.dist-info"
    folder.mkdir(parents=True)
    (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    lines = (
        "\n".join((f"[{group}]", *(f"{name} = {value}" for name, value in points.items())))
        for group, points in groups.items()
    )
    (folder / "entry_points.txt").write_text("\n".join(lines) + "\n")
    (site / f"{package}.py").write_text(module)
    return site
