"""ytf-scan: find candidate targets of a backdoor, with clean images alone."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ytf_torch.commands.networks import introduce
from ytf_torch.commands.options import Device, PixelScale, PreprocessingOption, listed
from ytf_torch.commands.start import start
from ytf_torch.commands.terminal import App, note, progress_bars, say
from ytf_torch.defences.names import MOST_TWINS, every, is_known
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
    twins: Annotated[
        int,
        typer.Option(
            min=0,
            max=MOST_TWINS,
            help="Clean networks to train on the same images, for a p-value of at least 1/(twins "
            "+ 1); 19 is a good number. They are cached.",
        ),
    ] = 0,
    pixel_scale: PixelScale = None,
    preprocessing: PreprocessingOption = None,
    device: Device = "auto",
) -> None:
    """Look for a backdoor's target without triggered faces.

    It names the classes to look at first, and shows the reversed triggers as images. It cannot
    show that a network is clean. With --twins its anomaly is set against clean networks of the same
    architecture: a p-value, and the false alarm rate of each scan's threshold.
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
    from ytf_torch.defences.duration import duration, expected_seconds_of_twins
    from ytf_torch.report.scan.scan_page import (
        CAUTION,
        examined_sentence,
        headline,
        twins_lines,
    )
    from ytf_torch.run.learning import learning_names, open_learned
    from ytf_torch.run.pair import open_network
    from ytf_torch.run.scan import scan

    asked = asked_preprocessing(pixel_scale, preprocessing)
    opened = open_network(model, asked)
    network = opened.badnet.model.to(resolve_device(device))
    faces, doubts = open_learned(network, clean_valid, learning_names(names, twins))
    opened = opened.doubted(doubts)
    introduce(opened)
    title = printable(model.name)
    if twins:
        seconds = expected_seconds_of_twins(network, names, len(faces), twins)
        noun = "clean twin" if twins == 1 else "clean twins"
        say(f"{twins} {noun}: {duration(seconds)} on this machine, if none is cached")
    with progress_bars() as track:
        outcome = scan(network, faces, out_folder, title, names, opened.doubts, track, twins)
    for doubt in outcome.doubts:
        note(f"warning: {doubt}")
    say(headline(outcome.candidates, outcome.among_twins))
    for name, found in outcome.suspicions.items():
        named = ", ".join(f"{c} ({found.anomaly[c]:.1f})" for c in found.candidates)
        say(f"{name}: {named or 'no candidate'} (threshold {found.threshold:.1f})")
        if examined := examined_sentence(name, found):
            say(examined)
    for line in twins_lines(outcome.among_twins):
        say(line)
    say(CAUTION)
    say(f"Report: {out_folder / 'report.html'}")


if __name__ == "__main__":
    start("scan")
