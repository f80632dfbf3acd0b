"""Benchmark of the pruning sweep against alternatives, and of `ytf-prune` as a whole.

`python -m benchmarks.sweep SCRATCH` writes files of the lab's size to SCRATCH (2.3 GB) and its
results to benchmarks/RESULTS.md and RESULTS.json.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated, Any

import torch
import typer

from benchmarks.forward_pass import forward_pass
from benchmarks.keras_lab import KerasLab
from benchmarks.lab_files import (
    LAB_CHANNELS,
    LAB_CLASSES,
    LabFiles,
    in_memory,
    make_lab_files,
    random_model,
    repeated,
)
from benchmarks.ordinary import ordinary_passes
from benchmarks.process_cost import ProcessCost, process_cost
from benchmarks.stopwatch import Contestant, PhaseTimes, Times, seconds_of, take_turns, warm_up
from ytf_torch.commands.prune import command_line
from ytf_torch.convert import read_keras_model
from ytf_torch.convert.onnx_writer import INPUT, write_onnx
from ytf_torch.defences.repairs.pruning import run_defence
from ytf_torch.device import resolve_device
from ytf_torch.errors import InputError
from ytf_torch.images.arrays import ImagesInMemory
from ytf_torch.images.batches import BATCH_SIZE
from ytf_torch.images.image_set import ImageSet, ImageSets
from ytf_torch.images.opening import open_images
from ytf_torch.images.read_once import read_once
from ytf_torch.network.checkpoint import Checkpoint
from ytf_torch.network.deepid import DeepIDSizes
from ytf_torch.network.module import Network
from ytf_torch.report.prune.exhibits import gather_exhibits
from ytf_torch.report.prune.prune_record import FaceFiles, Run
from ytf_torch.run.folder import write_run
from ytf_torch.run.settings import PruneSettings
from ytf_torch.sweep.fast import fast_engine
from ytf_torch.sweep.passes import sweep
from ytf_torch.sweep.plain import PlainEngine

PLAIN_IMAGES = 384
FORWARD_BATCHES = (32, 64)
HERE = Path(__file__).parent
FAST, PLAIN = "fast sweep", "plain sweep"
ONNX, KERAS = "one forward pass, onnxruntime", "the lab's Keras loop"

app = typer.Typer(pretty_exceptions_enable=False)


@dataclass
class Results:
    """The results: `text` are lines of Markdown, `numbers` is for programs."""

    text: list[str] = field(default_factory=list)
    numbers: dict[str, Any] = field(default_factory=dict)

    def say(self, *lines: str) -> None:
        """Print lines and add them to `text`."""
        for line in lines:
            print(line, flush=True)
            self.text.append(line)

    def table(self, title: str, header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
        """Add a Markdown table whose columns are also aligned in a terminal."""
        cells = [list(header), *map(list, rows)]
        widths = [max(len(row[column]) for row in cells) for column in range(len(header))]

        def line(row: Sequence[str]) -> str:
            first, *others = (cell for cell in zip(row, widths, strict=True))
            padded = [first[0].ljust(first[1]), *(text.rjust(width) for text, width in others)]
            return f"| {' | '.join(padded)} |"

        rule = "|" + "|".join(
            "-" * (width + 1) + (":" if column else "-") for column, width in enumerate(widths)
        )
        self.say("", f"## {title}", "", line(cells[0]), rule + "|", *map(line, cells[1:]))

    def write(self, folder: Path) -> None:
        """Write RESULTS.md and RESULTS.json."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "RESULTS.md").write_text("\n".join(self.text) + "\n", encoding="utf-8")
        (folder / "RESULTS.json").write_text(
            json.dumps(self.numbers, indent=1) + "\n", encoding="utf-8"
        )


@app.command()
def benchmark(
    scratch: Annotated[Path, typer.Argument(help="Folder for 2.3 GB of face sets; kept.")],
    rounds: Annotated[int, typer.Option(min=1, help="Times each thing is measured.")] = 5,
    quick: Annotated[
        bool, typer.Option("--quick", help="A twentieth of the images and one round, to try it.")
    ] = False,
    threads: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Threads of each thing measured; 1 where others use the machine as well.",
            show_default="all cores",
        ),
    ] = None,
    results: Annotated[Path, typer.Option(help="Where RESULTS.md and .json go.")] = HERE,
    device: Annotated[
        str, typer.Option(help="cpu or cuda; Keras and onnxruntime stay on the CPU.")
    ] = "cpu",
    check: Annotated[
        bool,
        typer.Option("--check", help="Only print the ratios that are to hold; write nothing."),
    ] = False,
) -> None:
    """Compare the sweep with the lab's Keras loop, plain forward passes and onnxruntime."""
    found = Results()
    limit_threads(threads or os.cpu_count() or 1)
    rounds = 1 if quick else rounds
    files = make_lab_files(scratch, share=0.05 if quick else 1.0)
    describe(found, files, rounds, quick=quick)
    model = read_keras_model(files.keras_model, 1.0).model
    placed = resolve_device(device)
    if check:
        check_ratios(found, files, model.to(placed), rounds)
        return
    sets = (files.clean_valid, files.clean_test, files.poisoned_test)
    keras = KerasLab(
        files.keras_model,
        DeepIDSizes.of_shapes(
            model.graph.parameter_shapes, model.input_shape[1:], files.keras_model
        ),
        sets,
    )
    if keras.unavailable:
        found.say("", f"Keras is skipped: {keras.unavailable}.")
    faces = in_memory(files.clean_valid, model)
    one_set(found, model, faces, keras, rounds)
    growth(found, model, faces, max(rounds // 2, 1))
    whole_process(found, files, keras, rounds)
    found.write(results)


def limit_threads(threads: int) -> None:
    """Limit the threads of PyTorch in this process and of all libraries in child processes."""
    torch.set_num_threads(threads)
    for library in ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"):
        os.environ[library] = str(threads)


def describe(found: Results, files: LabFiles, rounds: int, *, quick: bool) -> None:
    """Record the machine, library versions and files of the measurement."""
    machine = {
        "processor": processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "system": platform.platform(terse=True),
        "python": platform.python_version(),
        **{name: installed(name) for name in ("torch", "tensorflow", "tf_keras", "onnxruntime")},
    }
    when = datetime.now(UTC).strftime("%Y-%m-%d")
    found.numbers |= {"machine": machine, "date": when, "rounds": rounds, "source": files.source}
    found.say(
        "# Results",
        "",
        f"`python -m benchmarks.sweep`, {when}: {rounds} rounds in which all take turns, medians.",
        f"Load of the machine when it began: {os.getloadavg()[0]:.1f}.",
        f"Machine: {', '.join(f'{name} {value}' for name, value in machine.items())}.",
        f"Files: {files.source}.",
    )
    if quick:
        found.say("", "**Tried with --quick: a twentieth of the images, figures mean nothing.**")


def processor() -> str:
    """The name of the processor, "unknown" if not available."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.split(": ")[1] for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or "unknown"


def installed(package: str) -> str:
    """The version of a package, or "not installed"."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def onnx_pass(model: Network, faces: ImagesInMemory) -> Callable[[], None]:
    """A forward pass by onnxruntime, with the file that ytf-export writes. Raises ImportError or
    InputError where onnxruntime or onnx is not installed."""
    import onnxruntime

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "model.onnx")
        write_onnx(file, model)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])

    def run() -> None:
        for batch in faces.batches(BATCH_SIZE):
            session.run(None, {INPUT: batch.pixels.float().numpy()})[0].argmax(1)

    return run


def one_set(
    found: Results, model: Network, faces: ImagesInMemory, keras: KerasLab, rounds: int
) -> None:
    """Compare the sweep of one set from memory with all alternatives."""
    some = faces.part(0, min(PLAIN_IMAGES, len(faces)))
    channels = model.convolution("conv_3").out_channels
    phases: list[dict[str, float]] = []
    steps: list[Any] = []

    def fast() -> None:
        watch = PhaseTimes()
        sweep(model, faces, engine=fast_engine, track=watch)
        phases.append(dict(watch.seconds))

    def plain() -> None:
        sweep(model, some, engine=PlainEngine)

    def keras_loop() -> float:
        steps.append(keras.step())
        return float(steps[-1].valid * channels)

    forward: dict[str, Contestant] = {
        f"one forward pass, PyTorch, batches of {size}": seconds_of(
            partial(forward_pass, model, faces, size)
        )
        for size in FORWARD_BATCHES
    }
    contestants: dict[str, Contestant] = {
        **forward,
        FAST: seconds_of(fast),
        PLAIN: seconds_of(plain, len(faces) / len(some)),
    }
    try:
        contestants[ONNX] = seconds_of(onnx_pass(model, faces))
    except (ImportError, InputError) as error:
        found.say("", f"onnxruntime is skipped: {error}.")
    if not keras.unavailable:
        contestants[KERAS] = keras_loop
    warm_up(contestants)
    phases.clear()
    times = take_turns(contestants, rounds)
    best = min(forward, key=lambda name: times[name].median)
    notes = {
        PLAIN: f"extrapolated from {len(some)} images",
        KERAS: f"extrapolated from one step of {channels} a round",
    }
    title = f"One sweep: {channels} channels, {len(faces):,} faces from memory"
    found.table(
        title,
        ("", "seconds", "× best forward pass", "fast sweep is faster by", "note"),
        (
            (
                name,
                f"{measured.median:.2f}",
                f"{measured.ratio_to(times[best]):.2f}",
                f"{measured.ratio_to(times[FAST]):.1f} ×",
                notes.get(name, ""),
            )
            for name, measured in times.items()
        ),
    )
    found.numbers["one_set"] = {name: measured.seconds for name, measured in times.items()}
    found.numbers["keras_steps"] = [vars(step) for step in steps]
    _phase_table(found, "Phases of the fast sweep", phases)


def _phase_table(found: Results, title: str, phases: list[dict[str, float]]) -> None:
    times = {name: Times(tuple(phase[name] for phase in phases)) for name in phases[0]}
    total = sum(measured.median for measured in times.values())
    found.table(
        title,
        ("phase", "seconds", "share"),
        (
            (name, f"{measured.median:.2f}", f"{100 * measured.median / total:.0f} %")
            for name, measured in times.items()
        ),
    )
    found.numbers[title] = {name: measured.seconds for name, measured in times.items()}


def growth(found: Results, model: Network, faces: ImagesInMemory, rounds: int) -> None:
    """Scaling of the fast sweep with images, channels and classes."""
    many = repeated(faces, 4)
    few = faces.part(0, max(len(faces) // 4, 1))

    def sweeping(network: Network, images: ImageSet) -> Contestant:
        return seconds_of(lambda: sweep(network, images, engine=fast_engine))

    grown = {
        f"{times} × {len(faces):,} images": sweeping(model, many.part(0, times * len(faces)))
        for times in (1, 2, 4)
    }
    for channels in (LAB_CHANNELS, 2 * LAB_CHANNELS, 4 * LAB_CHANNELS):
        network = random_model(channels=channels)
        grown[f"{channels} channels of conv_3"] = sweeping(network, few)
    for classes in (LAB_CLASSES, 2 * LAB_CLASSES, 4 * LAB_CLASSES):
        grown[f"{classes} classes"] = sweeping(random_model(classes=classes), few)
    times = take_turns(grown, rounds)
    names = list(times)
    found.table(
        "How the fast sweep grows",
        ("", "seconds", "× the smallest"),
        (
            (
                name,
                f"{times[name].median:.2f}",
                f"{times[name].ratio_to(times[names[place - place % 3]]):.2f}",
            )
            for place, name in enumerate(names)
        ),
    )
    found.say(
        "",
        f"Channels and classes: random weights, every other channel dead, {len(few):,} faces.",
    )
    found.numbers["growth"] = {name: measured.seconds for name, measured in times.items()}


def whole_process(found: Results, files: LabFiles, keras: KerasLab, rounds: int) -> None:
    """Compare ytf-prune on three files, from start to exit, with the lab's notebook."""
    peaks, phases, steps = [], [], []

    def prune() -> float:
        with tempfile.TemporaryDirectory() as folder:
            cost = process_cost(prune_command(files, Path(folder, "run")))
        peaks.append(cost.peak_bytes)
        return cost.seconds

    def notebook() -> float:
        steps.append(keras.step())
        return keras.load_seconds + 60 * steps[-1].all_sets

    def phase_by_phase() -> float:
        phases.append(phases_of_prune(files))
        return sum(phases[-1].values())

    contestants: dict[str, Contestant] = {
        "ytf-prune": prune,
        "the same in one process": phase_by_phase,
    }
    if not keras.unavailable:
        contestants["the lab's notebook in Keras"] = notebook
    times = take_turns(contestants, rounds)
    memory = {"ytf-prune": max(peaks)}
    if not keras.unavailable:
        memory["the lab's notebook in Keras"] = keras.finish()
    del times["the same in one process"]
    notes = {
        "the lab's notebook in Keras": "loading, and 60 steps extrapolated from one a round",
        "ytf-prune": "with report and figures, start to exit",
    }
    gigabytes = [path.stat().st_size / 1e9 for path in _set_paths(files)]
    found.table(
        f"The whole process: three sets, {sum(gigabytes):.1f} GB of float64 files",
        ("", "seconds", "ytf-prune is faster by", "peak memory", "note"),
        (
            (
                name,
                f"{measured.median:.1f}",
                f"{measured.ratio_to(times['ytf-prune']):.1f} ×",
                f"{memory[name] / 2**30:.2f} GiB",
                notes[name],
            )
            for name, measured in times.items()
        ),
    )
    found.numbers["whole_process"] = {
        "seconds": {name: measured.seconds for name, measured in times.items()},
        "peak_bytes": memory,
    }
    _phase_table(found, "Phases of ytf-prune, without its start", phases)


@dataclass(frozen=True)
class Target:
    """A performance target: `time(measured) ≤ most · time(base)`."""

    measured: str
    base: str
    most: float


WHOLE = "ytf-prune"
PLAIN_PASS, PLAIN_PASSES = "best plain pass", "best plain passes, all sets"
ORDINARY_PASSES = "an ordinary network's passes, all sets"
TARGETS = (
    Target(FAST, PLAIN_PASS, 1.5),
    Target(WHOLE, PLAIN_PASSES, 2.2),
    Target(WHOLE, ORDINARY_PASSES, 1.3),
)


def check_ratios(found: Results, files: LabFiles, model: Network, rounds: int) -> None:
    """Print the cost of the defence in forward passes, with the targets."""
    faces = in_memory(files.clean_valid, model)
    layout = model.input_shape, model.classes
    images = sum(len(open_images(path, *layout)) for path in _set_paths(files))
    costs: list[ProcessCost] = []

    def prune() -> float:
        with tempfile.TemporaryDirectory() as folder:
            command = [*prune_command(files, Path(folder, "run")), "--device", model.device.type]
            costs.append(process_cost(command))
        return costs[-1].seconds

    def ordinary() -> float:
        return ordinary_passes(files.keras_model, _set_paths(files), model.device)

    contestants: dict[str, Contestant] = {
        **{
            f"pass {size}": seconds_of(partial(forward_pass, model, faces, size))
            for size in FORWARD_BATCHES
        },
        FAST: seconds_of(partial(sweep, model, faces, engine=fast_engine)),
    }
    warm_up(contestants)
    times = take_turns(contestants | {WHOLE: prune, ORDINARY_PASSES: ordinary}, rounds)
    best = min((times[f"pass {size}"] for size in FORWARD_BATCHES), key=lambda one: one.median)
    share = images / len(faces)
    bases = {
        PLAIN_PASS: best,
        PLAIN_PASSES: best.times(share),
        ORDINARY_PASSES: times[ORDINARY_PASSES],
    }
    rows = []
    for target in TARGETS:
        ratio = times[target.measured].ratio_to(bases[target.base])
        word = "holds" if ratio <= target.most else "DOES NOT HOLD"
        rows.append((target.measured, target.base, f"{ratio:.2f}", f"{target.most:.1f}", word))
    found.table("Ratios that are to hold", ("", "in units of", "ratio", "at most", ""), rows)
    peak = max(cost.peak_bytes for cost in costs)
    found.say("", f"Peak memory of ytf-prune and its readers together: {peak / 2**30:.2f} GiB.")


def _set_paths(files: LabFiles) -> tuple[Path, Path, Path]:
    return files.clean_valid, files.clean_test, files.poisoned_test


def prune_command(files: LabFiles, out: Path) -> list[str]:
    """The command line of ytf-prune, as a user would enter it."""
    flags = {
        "--model": files.keras_model,
        "--clean-valid": files.clean_valid,
        "--clean-test": files.clean_test,
        "--poisoned-test": files.poisoned_test,
        "--out": out,
        "--device": "cpu",
    }
    pairs = (text for flag, value in flags.items() for text in (flag, str(value)))
    return [sys.executable, "-m", "ytf_torch.commands.prune", *pairs]


def phases_of_prune(files: LabFiles) -> dict[str, float]:
    """Phase of ytf-prune → seconds, run in this process."""
    watch = PhaseTimes()
    start = time.perf_counter()

    def lap(phase: str) -> None:
        watch.seconds[phase] = time.perf_counter() - start - sum(watch.seconds.values())

    checkpoint: Checkpoint = read_keras_model(files.keras_model, 1.0)
    model = checkpoint.model
    valid, test, poisoned = (
        open_images(path, model.input_shape, model.classes) for path in _set_paths(files)
    )
    sets = read_once(ImageSets(valid, test, (poisoned,)))
    lap("opening model and sets")
    defence = run_defence(checkpoint, sets, ("2", "4", "10"), track=watch)
    exhibits = gather_exhibits(checkpoint.model, sets, defence)
    lap("choosing faces and maps for the report")
    folder = Path(tempfile.mkdtemp())
    settings = PruneSettings(
        model=files.keras_model,
        clean_valid=valid.path,
        clean_test=test.path,
        poisoned_test=(poisoned.path,),
        out=folder,
    )
    faces = FaceFiles(settings.clean_valid, settings.clean_test, settings.poisoned_test)
    run = Run(checkpoint, defence, "cpu", faces, command_line(settings))
    write_run(run, settings, exhibits, folder)
    shutil.rmtree(folder)
    lap("writing models, figure and report")
    return dict(watch.seconds)


if __name__ == "__main__":
    app()
