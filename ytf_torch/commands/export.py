"""ytf-export: write a network or a GoodNet for other tools, and verify the file's predictions."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from ytf_torch.commands.networks import introduce
from ytf_torch.commands.options import PixelScale, PreprocessingOption
from ytf_torch.commands.paths import check_paths
from ytf_torch.commands.start import start
from ytf_torch.commands.terminal import App, out, say
from ytf_torch.convert.endings import ENDINGS, as_keras_reads, ending_of
from ytf_torch.disk.writing import whole_file
from ytf_torch.network.preprocessing import asked_preprocessing

if TYPE_CHECKING:
    from ytf_torch.convert.export import Check, Compacted, Export, Subject
    from ytf_torch.network.checkpoint import Checkpoint
    from ytf_torch.network.preprocessing import Preprocessing
    from ytf_torch.run.pair import Opened

CHECK_FAILED = 1

app = App()


@app.command("export")
def export_command(
    model: Annotated[Path, typer.Argument(help="A network: a Keras file or a converted model.")],
    output: Annotated[
        Path,
        typer.Option("--output", "-o", help=f"File to write; it ends in {', '.join(ENDINGS)}."),
    ],
    goodnet: Annotated[
        Path | None,
        typer.Option(help="B′: export the GoodNet of both, one graph that answers 0…N."),
    ] = None,
    compacted: Annotated[
        bool, typer.Option("--compact", help="Remove masked channels for good.")
    ] = False,
    pixel_scale: PixelScale = None,
    preprocessing: PreprocessingOption = None,
    any_pair: Annotated[
        bool,
        typer.Option("--any-pair", help="Accept a B′ that does not seem to be derived from B."),
    ] = False,
    against_keras: Annotated[
        bool,
        typer.Option("--against-keras", help="Load a Keras file in real Keras too, and run it."),
    ] = False,
    json_report: Annotated[
        Path | None, typer.Option("--json", help="Write the verdict to this file.")
    ] = None,
) -> None:
    """Export a network: the file is read back and run, and kept only if it answers alike.

    .onnx and .pt2 take pixel values 0–255 as float32 (a float64 network: as float64) of shape
    (batch, channels, height, width), and apply the preprocessing themselves; Keras files take
    (batch, height, width, channels), preprocessed by the caller.
    Exit status: 0 exported, 1 a check failed and no output is left, 2 bad input.
    """
    output = as_keras_reads(output)
    check_paths([output, json_report], [model, goodnet])
    ending_of(output, goodnet=goodnet is not None)
    asked = asked_preprocessing(pixel_scale, preprocessing)
    from ytf_torch.convert.export import compacted as without_masked
    from ytf_torch.convert.export import export

    opened = _opened(model, goodnet, asked, any_pair=any_pair)
    introduce(opened)
    checkpoints = _checkpoints(opened)
    compacted_networks = (
        [without_masked(checkpoint) for checkpoint in checkpoints] if compacted else []
    )
    subject = _subject(
        [compacted_network.checkpoint for compacted_network in compacted_networks] or checkpoints
    )
    for name, compacted_network in zip(("network", "B′"), compacted_networks, strict=False):
        _print_compacted(name, compacted_network)
    failed = [
        line
        for compacted_network in compacted_networks
        for line in compacted_network.check.failures
    ]
    exported = None if failed else export(subject, output, against_keras=against_keras)
    if exported is not None:
        _print_verdict(exported)
        failed = list(exported.failures)
    for line in failed:
        say(f"  {line}")
    if json_report is not None:
        record = _record(model, goodnet, output, exported, compacted_networks, failed)
        with whole_file(json_report) as temporary:
            temporary.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    if failed:
        say(f"Not written: {output} would not answer as the network does.")
        raise typer.Exit(CHECK_FAILED)
    say(f"Wrote {output}")


def _opened(
    model: Path, repaired: Path | None, asked: Preprocessing | None, *, any_pair: bool
) -> Opened:
    from ytf_torch.run.pair import open_network, open_pair

    if repaired is None:
        return open_network(model, asked)
    return open_pair(model, repaired, asked, any_pair=any_pair)


def _checkpoints(opened: Opened) -> list[Checkpoint]:
    from ytf_torch.run.pair import Pair

    return [opened.badnet, *([opened.repaired] if isinstance(opened, Pair) else [])]


def _subject(checkpoints: list[Checkpoint]) -> Subject:
    """What to export: the network, or with B′ the GoodNet of both."""
    from ytf_torch.convert.export import Subject
    from ytf_torch.defences.detectors.goodnet import GoodNet

    badnet, *repaired = checkpoints
    if not repaired:
        return Subject(badnet.model, badnet)
    return Subject(GoodNet(badnet.model, repaired[0].model), badnet, repaired[0])


def _print_compacted(name: str, compacted: Compacted) -> None:
    table = Table(name)
    for column in ("before", "after"):
        table.add_column(column, justify="right")
    for title, kind, number_format in (
        ("parameters", "parameters", "{:,}"),
        ("multiply-adds a face", "multiply_adds", "{:,}"),
        ("ms a face, measured", "milliseconds", "{:.3f}"),
    ):
        values = (getattr(cost, kind) for cost in (compacted.before, compacted.after))
        table.add_row(title, *map(number_format.format, values))
    out.print(table)
    _print_check(compacted.check)


def _print_verdict(exported: Export) -> None:
    if exported.weights_equal is not None:
        word = "bit for bit as they were" if exported.weights_equal else "NOT AS THEY WERE"
        say(f"read back: all weights {word}")
    for check in exported.checks:
        _print_check(check)


def _print_check(check: Check) -> None:
    line = f"{check.agreeing} of {check.images} argmax agree"
    if check.parity is not None:
        line += (
            f", max |Δlogit| {check.parity.largest_difference:.2e} of "
            f"{check.parity.largest_logit:.1f}, error against float64 {check.parity.error:.2e} "
            f"(the network's own {check.parity.keras_error:.2e})"
        )
    word = "CHECK FAILED" if check.failures else "answers alike"
    say(f"{word} in {check.by}: {line}")


def _record(
    model: Path,
    repaired: Path | None,
    output: Path,
    exported: Export | None,
    compacted_networks: list[Compacted],
    failed: list[str],
) -> dict[str, Any]:
    """The verdict as JSON; `output` is None where a check failed and no file was written."""
    return {
        "model": str(model),
        "goodnet": None if repaired is None else str(repaired),
        "output": None if failed else str(output),
        "held": not failed,
        "failures": failed,
        "weights_equal": None if exported is None else exported.weights_equal,
        "checks": [] if exported is None else [_check_record(check) for check in exported.checks],
        "compact": [
            {"before": asdict(compacted_network.before), "after": asdict(compacted_network.after)}
            | _check_record(compacted_network.check)
            for compacted_network in compacted_networks
        ],
    }


def _check_record(check: Check) -> dict[str, Any]:
    record: dict[str, Any] = {"by": check.by, "images": check.images, "agreeing": check.agreeing}
    if check.parity is not None:
        record |= {
            "largest_logit": check.parity.largest_logit,
            "largest_difference": check.parity.largest_difference,
            "error": check.parity.error,
            "own_error": check.parity.keras_error,
            "rounding": check.parity.rounding,
        }
    return record


if __name__ == "__main__":
    start("export")
