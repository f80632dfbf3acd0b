"""A pruning run, from its settings to its output folder."""

from __future__ import annotations

import copy
from contextlib import ExitStack
from dataclasses import replace
from functools import partial

import torch

from ytf_torch.convert.model_file import read_model
from ytf_torch.defences.doubts import find_doubts
from ytf_torch.defences.repairs.pruning import run_defence
from ytf_torch.device import resolve_device
from ytf_torch.distributed import (
    check_same,
    gathered,
    is_first,
    own_place,
    process_group,
    together,
)
from ytf_torch.images.image_set import ImageSets
from ytf_torch.network.checkpoint import Checkpoint
from ytf_torch.progress import Track, untracked
from ytf_torch.report.prune.exhibits import gather_exhibits
from ytf_torch.report.prune.prune_record import FaceFiles, Run
from ytf_torch.run.folder import write_run
from ytf_torch.run.inputs import fingerprint, inputs_record
from ytf_torch.run.places import check_inputs_are_elsewhere
from ytf_torch.run.resume import check_out_may_be_used, work_folder
from ytf_torch.run.sets import open_sets
from ytf_torch.run.settings import PruneSettings
from ytf_torch.run.work_folder import WorkFolder


def defend(
    settings: PruneSettings,
    command: str,
    *,
    resume: bool = False,
    overwrite: bool = False,
    track: Track = untracked,
) -> Run | None:
    """Run the pruning defence and write its output folder.

    command: quoted in the report to repeat the run. resume, overwrite: see work_folder. Of several
    processes, each computes a share of the images, and the first one writes. Returns None where
    `resume` finds this run finished. Raises InputError, OutputError, and ProcessLostError where
    another process ended early.

    >>> settings = PruneSettings(model="bd_net.h5", clean_valid="valid.h5", out="run", device="cpu")
    >>> run = defend(settings, "ytf-prune --model bd_net.h5 --clean-valid valid.h5 --out run")
    >>> sorted(path.name for path in Path("run").iterdir() if "pruned" not in path.name)
    ['report.html', 'result.json', 'run.json', 'settings.toml', 'sweep.png', 'table.tex', ...]
    """
    device = resolve_device(settings.device)
    with process_group(device), ExitStack() as stack:
        work: WorkFolder | None = None
        with together():
            checkpoint, sets = open_inputs(settings, resume=resume, overwrite=overwrite)
            settings = settings.of_network(checkpoint.model.graph)
        check_same(
            "the model, the face sets or the settings", fingerprint(checkpoint, sets, settings)
        )
        with together():
            if is_first():
                inputs = inputs_record(checkpoint, sets, settings, device)
                folder = work_folder(settings.out, inputs, resume=resume, overwrite=overwrite)
                work = stack.enter_context(folder)
        if gathered(work is not None and work.finished)[0]:
            return None
        on_device = _computing(checkpoint, settings, device)
        defence = run_defence(
            on_device,
            sets,
            settings.drops,
            settings.layer,
            settings.rank_at,
            settings.engine,
            track,
            work,
            settings.order,
        )
        files = FaceFiles(settings.clean_valid, settings.clean_test, settings.poisoned_test)
        doubts = find_doubts(on_device.model, sets, defence)
        pairings = sets.pairings if work is not None else None
        run = Run(
            checkpoint, defence, device.type, files, command, doubts, settings.keras, pairings
        )
        run = replace(run, class_names=sets.class_names)
        if work is not None:
            exhibits = gather_exhibits(on_device.model, sets, defence)
            write = partial(write_run, run, settings, exhibits)
            work.finish(write, processes=own_place().processes)
    return run


def _computing(checkpoint: Checkpoint, settings: PruneSettings, device: torch.device) -> Checkpoint:
    """A copy of the model on the device, in the requested precision. The original is what B′ is
    made from, so it keeps its own precision."""
    precision = checkpoint.model.dtype
    if settings.precision is not None:
        precision = getattr(torch, settings.precision)
    return replace(checkpoint, model=copy.deepcopy(checkpoint.model).to(device, precision))


def open_inputs(
    settings: PruneSettings, *, resume: bool, overwrite: bool
) -> tuple[Checkpoint, ImageSets]:
    """Open the model and the image sets, checked against it, where OUT may be used. Raises
    InputError."""
    check_inputs_are_elsewhere(settings.out, settings.files)
    if is_first():
        check_out_may_be_used(settings.out, resume=resume, overwrite=overwrite)
    checkpoint = read_model(settings.model, settings.asked)
    sets = open_sets(
        checkpoint.model,
        settings.clean_valid,
        settings.clean_test,
        settings.poisoned_test,
        settings.target,
    )
    return checkpoint, sets
