"""An --out that cannot be used is refused before any image is read: large sets take seconds."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.made.badnet import made_badnet


@pytest.mark.parametrize("command", ["prune", "repair", "compare", "audit"])
def test_a_taken_out_is_refused_before_images_are_read(command: str, tmp_path: Path) -> None:
    files = made_badnet().files(tmp_path, images=50)
    for option in files:
        if option != "--model":
            files[option].write_bytes(b"not an image set")
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "thesis.tex").write_text("precious")
    words = {option: str(path) for option, path in files.items()}
    model = words.pop("--model")
    named = [model] if command == "audit" else ["--model", model]
    named += [word for pair in words.items() for word in pair]
    app = import_module(f"ytf_torch.commands.{command}").app
    done = CliRunner().invoke(app, [*named, "--out", str(tmp_path / "taken")])
    assert done.exit_code == 2
    assert done.stderr.strip().startswith(f"error: {tmp_path / 'taken'}: ")
