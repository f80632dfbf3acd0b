"""ytf-scan: find candidate targets of a backdoor, with clean images alone."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ytf_torch.commands.networks import introduce
from ytf_torch.commands.options import Device, PixelScale, PreprocessingOption, listed
from ytf_torch.commands.start import start
from ytf_torch.commands.terminal import App, progress_bars, say
from ytf_torch.defences.names import every, is_known
from ytf_torch.device import resolve_device
from ytf_torch.disk.reading import checked_file, checked_source
from ytf_torch.errors import mismatch, printable
from ytf_torch.network.preprocessing import asked_preprocessing
from ytf_torch.run.lock import check_out
from ytf_torch.run.places import check_inputs_are_elsewhere

app = App()


@app.command("scan")
def scan_command(
    model: Annotated[Path, typer.Option(help="The network: a Keras file or a converted model.")],
    clean_valid: Annotated[Path, typer.Option(help="Clean validation faces.")],
    out_folder: Annotated[Path, typer.Option("--out", help="Folder to write; must not exist.")],
    methods: Annotated[
        str, typer.Option(help=f"all, or some of {', '.join(every('scan'))}, separated by commas.")
    ] = "all",
    pixel_scale: PixelScale = None,
    preprocessing: PreprocessingOption = None,
    device: Device = "auto",
) -> None:
    """Look for a backdoor's target without triggered faces.

    It names the classes to look at first, and shows the reversed triggers as images. It cannot
    show that a network is clean. Time grows with the number of classes: some minutes for 40.
    """
    names = every("scan") if methods == "all" else listed(methods)
    for name in names:
        if not is_known("scan", name):
            expected = f"all, or some of {', '.join(every('scan'))}"
            raise mismatch("--methods", expected, name or "nothing")
    if len(set(names)) != len(names):
        raise mismatch("--methods", "each once", ", ".join(names))
    files = (checked_file(model), checked_source(clean_valid))
    check_out(out_folder)
    check_inputs_are_elsewhere(out_folder, files)
    from ytf_torch.report.scan.scan_page import CAUTION, headline
    from ytf_torch.run.learning import open_learned
    from ytf_torch.run.pair import open_network
    from ytf_torch.run.scan import scan

    asked = asked_preprocessing(pixel_scale, preprocessing)
    opened = open_network(model, asked)
    network = opened.badnet.model.to(resolve_device(device))
    faces, doubts = open_learned(network, clean_valid, names)
    opened = opened.doubted(doubts)
    introduce(opened)
    title = printable(model.name)
    with progress_bars() as track:
        outcome = scan(network, faces, out_folder, title, names, opened.doubts, track)
    say(headline(outcome.candidates))
    for name, found in outcome.suspicions.items():
        named = ", ".join(f"{c} ({found.anomaly[c]:.1f})" for c in found.candidates)
        say(f"{name}: {named or 'no candidate'} (threshold {found.threshold:.1f})")
    say(CAUTION)
    say(f"Report: {out_folder / 'report.html'}")


if __name__ == "__main__":
    start("scan")
