"""ytf-demo: train, convert and repair a BadNet on images that are included."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from platformdirs import user_cache_path
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from ytf_torch.commands.convert import convert
from ytf_torch.commands.detect import detect_command
from ytf_torch.commands.prune import run_prune
from ytf_torch.commands.start import start
from ytf_torch.commands.terminal import App, say
from ytf_torch.demo.attacks import ATTACK_NAMES
from ytf_torch.disk.writing import check_run_folder_is_free, whole_folder
from ytf_torch.errors import InputError, how_to_install, mismatch
from ytf_torch.network.pixel_scale import pixel_scale_text
from ytf_torch.run.settings import PruneSettings

if TYPE_CHECKING:
    from ytf_torch.demo.badnet import Epoch
    from ytf_torch.demo.study import Source

    # Fills a folder with a study (images and BadNet), and reports progress after each epoch.
    Make = Callable[[Path, Epoch], None]

MAX_SEED = 2**63 - 1
TASKS = ("faces", "digits")

app = App()


@app.command()
def demo(
    out_folder: Annotated[
        Path, typer.Option("--out", help="Run folder to write; must not exist.")
    ] = Path("demo"),
    task: Annotated[
        str,
        typer.Option(help="faces: the lab's network, DeepID; digits: a small Sequential network."),
    ] = TASKS[0],
    seed: Annotated[
        int, typer.Option(min=0, max=MAX_SEED, help="Another seed gives another BadNet.")
    ] = 0,
    attack: Annotated[
        str | None,
        typer.Option(
            help=f"Another attack than the demo's own sunglasses: {', '.join(ATTACK_NAMES)}.",
            show_default=False,
        ),
    ] = None,
    keep_data: Annotated[
        bool,
        typer.Option("--keep-data", help="Copy images and models into the run folder, as data/."),
    ] = False,
) -> None:
    """See a backdoor, and see it found: train a BadNet on real faces, convert it, prune it.

    It takes a few minutes the first time; the trained network is then kept for this seed. With
    the extra `demo` the faces are the ORL faces of AT&T Laboratories Cambridge, without it drawn
    ones. With --task digits all of it takes half a minute, on scikit-learn's digits.
    """
    check_run_folder_is_free(out_folder)
    if task not in TASKS:
        raise mismatch("--task", f"one of {', '.join(TASKS)}", task)
    if attack is not None and attack not in ATTACK_NAMES:
        raise mismatch("--attack", f"one of {', '.join(ATTACK_NAMES)}", attack)
    if task == "digits":
        if attack is not None:
            raise mismatch("--attack", "--task faces, whose faces it is for", "--task digits")
        run_digits_demo(out_folder, seed, keep_data=keep_data)
        return
    from ytf_torch.demo.study import best_source

    run_demo(best_source(), out_folder, seed, keep_data=keep_data, attack=attack)


def run_demo(
    source: Source,
    out_folder: Path,
    seed: int,
    *,
    keep_data: bool,
    attack: str | None = None,
    cache: Path | None = None,
    epochs: int | None = None,
) -> None:
    """Create or reuse the study of faces, then run the commands on it. Raises InputError.

    attack: one of ATTACK_NAMES; None for the demo's default. cache: folder of finished studies.
    """
    from ytf_torch.convert.keras.keras_writer import write_keras_h5
    from ytf_torch.demo.badnet import PIXEL_SCALE
    from ytf_torch.demo.study import DRAWN, EPOCHS, make_study, study_key

    check_run_folder_is_free(out_folder)
    if source is DRAWN:
        say(f"Real faces are not installed, so these are drawn. {how_to_install('demo')}")
    say(f"Faces: {source.credit}")
    rounds = EPOCHS[source.name] if epochs is None else epochs

    def make(folder: Path, done: Epoch) -> None:
        make_study(source, seed, folder, write_keras_h5, rounds, done, attack)

    key = study_key(source, seed, write_keras_h5, rounds, attack)
    study = _cached_study((cache or _cache()) / key, make, rounds, "a minute or two")
    _defend_study(study, out_folder, PIXEL_SCALE, "photos", keep_data=keep_data)


def run_digits_demo(
    out_folder: Path,
    seed: int,
    *,
    keep_data: bool,
    cache: Path | None = None,
    epochs: int | None = None,
) -> None:
    """As run_demo, with handwritten digits. Raises InputError, also if scikit-learn is missing."""
    from ytf_torch.convert.keras.keras_writer import write_keras_h5
    from ytf_torch.demo.digits.images import CREDIT, digits_file
    from ytf_torch.demo.digits.network import PIXEL_SCALE
    from ytf_torch.demo.digits.study import EPOCHS, digit_study_key, make_digit_study

    check_run_folder_is_free(out_folder)
    images = digits_file()
    if images is None:
        problem = "scikit-learn, whose digits these are, is not installed"
        raise InputError("--task digits", problem, how_to_install("demo"))
    say(f"Digits: {CREDIT}")
    rounds = EPOCHS if epochs is None else epochs

    def make(folder: Path, done: Epoch) -> None:
        make_digit_study(images, seed, folder, write_keras_h5, rounds, done)

    key = digit_study_key(images, seed, write_keras_h5, rounds)
    study = _cached_study((cache or _cache()) / key, make, rounds, "some seconds")
    _defend_study(study, out_folder, PIXEL_SCALE, "images", keep_data=keep_data)


def _cache() -> Path:
    return user_cache_path("ytf-torch")


def _defend_study(
    study: Path, out_folder: Path, scale: float, images: str, *, keep_data: bool
) -> None:
    """Run the commands on a study. images: the word for its single image files."""
    from ytf_torch.report.prune.prune_record import pruned_file
    from ytf_torch.report.verdict import shown_drop

    keras_model, model = study / "models" / "bd_net.h5", study / "models" / "bd_net.safetensors"
    pixel_scale = pixel_scale_text(scale)
    say("")
    say("Keras → PyTorch")
    _say_command("ytf-convert", keras_model, "--pixel-scale", pixel_scale)
    convert(keras_model, pixel_scale=pixel_scale)

    sets = [study / "cl" / "valid.h5", study / "cl" / "test.h5"]
    triggered = tuple(sorted((study / "bd").glob("bd_test*.h5")))
    say("")
    say("The pruning defence")
    flags = ["--clean-valid", "--clean-test", *["--poisoned-test"] * len(triggered)]
    set_flags = [
        argument for flag in zip(flags, [*sets, *triggered], strict=True) for argument in flag
    ]
    _say_command("ytf-prune", "--model", model, *set_flags, "--out", out_folder)
    run = run_prune(
        PruneSettings(
            model=model,
            clean_valid=sets[0],
            clean_test=sets[1],
            poisoned_test=triggered,
            out=out_folder,
        ),
        resume=True,
    )
    if keep_data:
        with whole_folder(out_folder / "data") as folder:
            shutil.copytree(study, folder, dirs_exist_ok=True)

    drop = None if run is None else shown_drop(run.defence)
    photos = study / "photos"
    if drop is not None and photos.is_dir():
        pruned = out_folder / pruned_file(drop)
        say("")
        say(f"GoodNet on single {images}")
        _say_command("ytf-detect", "--model", model, "--pruned", pruned, photos)
        detect_command([photos], model, pruned)
    say("")
    say(f"Open {out_folder / 'report.html'} in a browser.")


def _say_command(*words: str | Path) -> None:
    say(f"$ {shlex.join(map(str, words))}")


def _cached_study(folder: Path, make: Make, epochs: int, duration: str) -> Path:
    """The study in this folder; it is created if missing."""
    if folder.is_dir():
        say(f"BadNet: trained before, in {folder}")
        return folder
    say(f"BadNet: being trained, which takes {duration}")
    columns = (
        TextColumn("training a BadNet"),
        BarColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("", total=epochs)

        def done(epoch: int, epochs: int) -> None:
            progress.update(task, completed=epoch, total=epochs)

        make(folder, done)
    say(f"BadNet: trained, in {folder}")
    return folder


if __name__ == "__main__":
    start("demo")
