"""Names and texts from strangers on the terminal and in the report: escaped, never obeyed."""

from __future__ import annotations

import os
from pathlib import Path

from typer.testing import CliRunner

from tests.made.keras_files import (
    SMALL,
    random_images,
    random_weights,
    write_faces,
    write_keras_file,
)
from ytf_torch.commands.convert import app as convert
from ytf_torch.commands.detect import app as detect
from ytf_torch.commands.prune import app as prune
from ytf_torch.network.checkpoint import load_checkpoint
from ytf_torch.report.templates import NO_BREAK_SPACE

TEXT = "[red]<script>alert(1)<\x1b[31m\nerror: b\u202egnp"


def test_names_and_versions_are_shown_as_text(tmp_path: Path) -> None:
    """One model and one face set whose names do everything that a name can."""
    name = tmp_path / (TEXT + os.fsdecode(b"\xff\xfe.h5"))
    write_keras_file(name, SMALL, random_weights(SMALL), keras_version=TEXT)
    model, run = tmp_path / "net.safetensors", tmp_path / "run"
    faces, triggered = (
        write_faces(tmp_path / f"{use} {TEXT}.h5", random_images(SMALL, 4, seed), [0, 1, 2, 3])
        for seed, use in enumerate(("faces", "triggered"))
    )

    converted = CliRunner().invoke(convert, [str(name), "-o", str(model)])
    assert converted.exit_code == 0, converted.output
    assert load_checkpoint(model).provenance.source_file.isprintable()
    arguments = ["--clean-valid", str(faces), "--poisoned-test", str(triggered), "--drops", "1"]
    pruned = CliRunner().invoke(prune, ["--model", str(model), *arguments, "--out", str(run)])
    assert pruned.exit_code == 0, pruned.output
    detected = CliRunner().invoke(
        detect,
        ["--model", str(model), "--pruned", str(model), "--any-pair", str(faces), str(name)],
    )
    assert detected.exit_code == 0, detected.output
    for result in (converted, pruned, detected):
        for line in result.output.splitlines():
            assert line.isprintable()
            assert not line.startswith("error: b")
    assert "[red]<script>alert(1)<\\x1b[31m\\nerror: b\\u202egnp" in converted.output

    page = (run / "report.html").read_text(encoding="utf-8")
    assert "<script>alert" not in page
    assert "[red]&lt;script&gt;alert" in page
    assert all(line.replace(NO_BREAK_SPACE, " ").isprintable() for line in page.splitlines())
    assert f"{NO_BREAK_SPACE}%" in page
