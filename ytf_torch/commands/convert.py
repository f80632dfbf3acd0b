"""ytf-convert: convert a Keras network to PyTorch, and verify that both compute the same logits."""

from __future__ import annotations

import json
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table
from rich.text import Text

from ytf_torch.commands.options import PreprocessingOption
from ytf_torch.commands.paths import check_paths
from ytf_torch.commands.start import start
from ytf_torch.commands.terminal import App, out, say
from ytf_torch.disk.reading import checked_file
from ytf_torch.disk.writing import whole_file
from ytf_torch.errors import InputError, mismatch, printable
from ytf_torch.network.pixel_scale import pixel_scale_text
from ytf_torch.network.preprocessing import (
    Preprocessing,
    asked_preprocessing,
    preprocessing_of,
)

if TYPE_CHECKING:
    from ytf_torch.convert.keras.keras_file import KerasFile
    from ytf_torch.convert.keras.keras_oracle import KerasParity
    from ytf_torch.convert.parity import Parity, Reference
    from ytf_torch.network.checkpoint import Checkpoint

PARITY_FAILED = 1
WITHOUT_SCALE = "For this preprocessing, leave pixel_scale out of the reference"
# Endings of other formats: a safetensors file of such a name would be misleading.
OTHER_FORMATS = (".pt", ".pth", ".pt2", ".bin", ".pkl", ".onnx", ".h5", ".hdf5", ".keras", ".npz")

app = App()


@app.command()
def convert(
    source: Annotated[Path, typer.Argument(help="Keras file: .h5, .hdf5, .weights.h5 or .keras.")],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="safetensors file to write.", show_default="SOURCE.safetensors"
        ),
    ] = None,
    pixel_scale: Annotated[
        str | None,
        typer.Option(
            help="What the network's pixel values 0–255 are multiplied by: 1 for the lab's "
            "bd_net, 1/255 for networks trained on 0–1. Keras files record it only if ytf-torch "
            "wrote them.",
            show_default="the file's, the reference's, else 1",
        ),
    ] = None,
    preprocessing: PreprocessingOption = None,
    architecture: Annotated[
        Path | None,
        typer.Option(
            help="For a weights-only file: the output of Keras's model.to_json(), or any file "
            "of the same network, converted or not. The lab's does not need it."
        ),
    ] = None,
    reference: Annotated[
        Path | None,
        typer.Option(help="Keras's logits to compare with: .npz of input, logits, pixel_scale."),
    ] = None,
    against_keras: Annotated[
        bool,
        typer.Option("--against-keras", help="Run real Keras too and compare every layer."),
    ] = False,
    json_report: Annotated[
        Path | None, typer.Option("--json", help="Write the verdict and all shapes to this file.")
    ] = None,
) -> None:
    """Convert a Keras image classifier to PyTorch (.safetensors) without TensorFlow or Keras.

    Exit status: 0 converted, and parity held where it was asked for; 1 parity failed, no output
    left; 2 bad input.
    """
    checked_file(source)
    target = output or source.with_suffix(".safetensors")
    check_paths([target, json_report], [source, reference, architecture])
    _check_ending(target)
    from ytf_torch.convert.keras.keras_file import read_keras_file
    from ytf_torch.convert.keras.keras_graph import keras_checkpoint
    from ytf_torch.convert.keras.keras_oracle import compare_with_keras
    from ytf_torch.convert.parity import compare_logits, read_reference
    from ytf_torch.network.checkpoint import save_checkpoint
    from ytf_torch.report.conversion_record import conversion_record

    asked = asked_preprocessing(pixel_scale, preprocessing)
    scaled = asked is None or asked.only_scales
    reference_logits = None if reference is None else read_reference(reference, scaled=scaled)
    asked = _with_reference(asked, reference_logits, reference)
    file = read_keras_file(source, architecture)
    checkpoint = keras_checkpoint(file, file.read_with(asked))
    _print_model(file, checkpoint, chosen=asked is not None or file.preprocessing is not None)

    verdicts: dict[str, Parity | KerasParity] = {}
    if reference_logits is not None:
        verdicts[str(reference)] = compare_logits(checkpoint.model, reference_logits)
    if against_keras:
        verdicts["real Keras"] = compare_with_keras(
            checkpoint.model, source, architecture=architecture
        )
    for name, verdict in verdicts.items():
        _print_verdict(name, verdict)
    if not verdicts:
        say(f"{'parity':<12} not compared with Keras: --reference or --against-keras does that")
    held = all(verdict.held for verdict in verdicts.values())

    with ExitStack() as files:
        if json_report is not None:
            # Written before the model but renamed after it: the report never names a missing file.
            record = conversion_record(file, checkpoint, verdicts, target if held else None)
            temporary = files.enter_context(whole_file(json_report))
            temporary.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
        if held:
            save_checkpoint(checkpoint, target)
    if not held:
        _remove_earlier(target)
        say(f"No output left: {target} would not answer as Keras does.")
        raise typer.Exit(PARITY_FAILED)
    say(f"Wrote {target}")


def _remove_earlier(target: Path) -> None:
    """Remove the output of an earlier conversion, which could be mistaken for this one's."""
    from ytf_torch.network.checkpoint import load_checkpoint

    try:
        load_checkpoint(target)
    except InputError:
        return
    target.unlink()


def _check_ending(target: Path) -> None:
    if target.suffix.lower() in OTHER_FORMATS:
        raise mismatch(
            target,
            "a name that ends in .safetensors, the format of converted models",
            target.suffix,
        )


def _with_reference(
    asked: Preprocessing | None, reference_logits: Reference | None, reference: Path | None
) -> Preprocessing | None:
    """The requested preprocessing, or else the pixel scale of the reference. Raises InputError
    where both are given and contradict each other."""
    scale = None if reference_logits is None else reference_logits.pixel_scale
    if scale is None or asked is None:
        return asked if scale is None else preprocessing_of(scale)
    place = f"{reference}, pixel_scale"
    if not asked.only_scales:
        raise mismatch(place, f"{asked.words}, as --preprocessing says", scale, WITHOUT_SCALE)
    if abs(asked.pixel_scale - scale) > 1e-12 * asked.pixel_scale:
        raise mismatch(place, f"{asked.pixel_scale:g}, as --pixel-scale says", scale)
    return asked


def _print_model(file: KerasFile, checkpoint: Checkpoint, *, chosen: bool) -> None:
    from ytf_torch.convert.keras.keras_graph import parameter_rows
    from ytf_torch.network.likelier_scale import likelier_pixel_scale, scale_doubt

    table = Table("weight", title=Text(printable(file.path.name)))
    for column in ("Keras", "PyTorch", "parameters"):
        table.add_column(column, justify="right", no_wrap=True)
    total = 0
    for name, keras_shape, shape, parameters in parameter_rows(file, checkpoint):
        table.add_row(name, keras_shape, shape, f"{parameters:,}")
        total += parameters
    table.add_section()
    table.add_row("all", "", "", f"{total:,}")
    out.print(table)
    provenance = checkpoint.provenance
    channels, height, width = provenance.input_shape
    kind = {1: "grey", 3: "RGB", 4: "RGBA"}.get(channels, f"of {channels} channels")
    facts = {
        "SHA-256": provenance.source_sha256,
        "Keras": provenance.keras_version,
        "input": f"{height}×{width} {kind}, {provenance.classes} classes",
        provenance.preprocessing.name: provenance.preprocessing.text
        + ("" if chosen else " (assumed: raw pixels; CSAW-2020 networks need --pixel-scale 1/255)"),
    }
    for name, fact in facts.items():
        say(f"{name:<12} {fact}")
    likelier = None if file.preprocessing else likelier_pixel_scale(checkpoint.model)
    if likelier is not None:
        other = pixel_scale_text(likelier)
        say(
            f"warning: {scale_doubt(checkpoint.model, likelier)}; "
            f"if so, convert it again with --pixel-scale {other}"
        )


def _print_verdict(name: str, verdict: Parity | KerasParity) -> None:
    from ytf_torch.convert.keras.keras_oracle import KerasParity

    logits = verdict.logits if isinstance(verdict, KerasParity) else verdict
    figures = (
        f"{logits.agreeing} of {logits.images} argmax agree, "
        f"max |Δlogit| {logits.largest_difference:.2e} of {logits.largest_logit:.1f}, "
        f"error against float64 {logits.error:.2e} (Keras's own {logits.keras_error:.2e})"
    )
    if isinstance(verdict, KerasParity):
        name = f"{name} {verdict.keras_version}"
        layers = ", ".join(
            f"{layer.layer} {layer.largest_difference:.1e}" for layer in verdict.layers
        )
        figures += f"; by layer {layers}"
    word = "parity held" if verdict.held else "PARITY FAILED"
    say(f"{word} against {name}: {figures}")
    for failure in verdict.failures:
        say(f"  {failure}")


if __name__ == "__main__":
    start("convert")
