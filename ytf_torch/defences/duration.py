"""About how long a repair will take, told from how long this machine takes to train on a few faces.

Busy machines and other networks make it two times as long or half as long; nobody who waits minutes
takes it for hours.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Iterable

import torch
from torch.nn import functional as F

from ytf_torch.defences.base import Ranking, Repair, Scan
from ytf_torch.defences.methods import REPAIRS, SCANS
from ytf_torch.defences.rankings.anp import AdversarialNeuronPruning
from ytf_torch.defences.rankings.rnp import ReconstructiveNeuronPruning
from ytf_torch.defences.relearning import BATCH, MEASURED_AFTER, NUMBERS, STEPS, twin_epochs
from ytf_torch.defences.relearning_images import MOST_MEASURED
from ytf_torch.defences.repairs.distillation import Distillation
from ytf_torch.defences.repairs.fine_tuning import FineTuning
from ytf_torch.defences.repairs.ft_sam import SharpnessAwareFineTuning
from ytf_torch.defences.repairs.i_bau import AdversarialUnlearning
from ytf_torch.defences.repairs.pruning import Pruning
from ytf_torch.defences.scans.mm_bd import MaximumMargin
from ytf_torch.defences.scans.neural_cleanse import NeuralCleanse
from ytf_torch.defences.scans.twins import CleanTwins
from ytf_torch.defences.training import seeded
from ytf_torch.network.module import Network

# What a face costs in each kind of work, in faces of a plain training step; measured with DeepID of
# 40 people on one core.
VARIED = 1.7
COVERED = 1.7
TWO_GRADIENTS = 2.3
UNLEARNED = 20.0
ROBUST = 2.8
MASKED = 0.7
CLASSIFIED = 0.23
SWEPT = 0.9
# Of detectors: a score, and the calibration or training for each clean validation image.
SCORED, SCORED_BY_STRIP = 1.3, 35.0
CALIBRATED, EXPERT_TRAINED = 1.5, 9.0
# Of the trial: seconds, and faces at once as most repairs take them.
SECONDS, TRIAL_BATCH = 0.5, 64


def expected_seconds(
    network: Network,
    methods: Iterable[str],
    faces: int,
    scans: Iterable[str] = (),
    at_once: int = 1,
    relearned: int = 0,
    afterwards: Iterable[str] = (),
    detecting: float = 0.0,
) -> float:
    """About how long repairs by these methods will take, with so many clean faces, and at most the
    scans of these names of SCANS.

    detecting: see faces_of_detectors, for the detectors that are measured with the first repair.
    at_once: the number of repairs and scans that run at the same time, each on a core of its own.
    relearned: after how many of the repairs relearning is measured, one after another; without the
    repairs of the clean twin. afterwards: methods of repairs that are made then, one after another.
    """
    work = [faces_of_method(method, faces, network.classes) for method in methods]
    if work:
        work[0] += detecting
    work += [faces_of_scan(SCANS[name], network.classes) for name in scans]
    longest = max(max(work, default=0.0), sum(work) / at_once)
    longest += faces_of_relearning(relearned, faces)
    longest += sum(faces_of_method(method, faces, network.classes) for method in afterwards)
    return longest * seconds_of_a_face(network) if longest else 0.0


def expected_seconds_of_twins(
    network: Network, scans: Iterable[str], images: int, count: int
) -> float:
    """The estimated seconds of training and scanning so many clean twins, if none is cached."""
    training = CleanTwins()
    work = VARIED * training.epochs_for(images) * images
    work += sum(faces_of_scan(SCANS[name], network.classes) for name in scans if name in SCANS)
    return count * work * seconds_of_a_face(network) if count else 0.0


def duration(seconds: float) -> str:
    """A time as it is said where it is not known well.

    >>> [duration(seconds) for seconds in (3, 48, 140, 4000, 20000)]
    ['a few seconds', 'about 50 seconds', 'about 2 minutes', 'about 67 minutes', 'about 6 hours']
    """
    if seconds < 10:
        return "a few seconds"
    if seconds < 90:
        return f"about {10 * round(seconds / 10)} seconds"
    if seconds < 5400:
        return f"about {round(seconds / 60)} minutes"
    return f"about {round(seconds / 3600)} hours"


def seconds_of_a_face(network: Network) -> float:
    """What one face of a training step takes here: forward, backward, optimiser."""
    trial = copy.deepcopy(network).train()
    optimizer = torch.optim.SGD(trial.parameters(), 1e-4, momentum=0.9)
    shape = (TRIAL_BATCH, *network.input_shape)
    random = seeded(0)  # the process's own is left as it is
    with torch.enable_grad():
        pixels = torch.randint(256, shape, generator=random, dtype=torch.uint8).to(network.device)
        labels = torch.randint(network.classes, (TRIAL_BATCH,), generator=random).to(network.device)
        times: list[float] = []
        until = time.perf_counter() + SECONDS
        while len(times) < 2 or time.perf_counter() < until:
            began = time.perf_counter()
            optimizer.zero_grad()
            torch.autograd.backward(F.cross_entropy(trial(pixels), labels))
            optimizer.step()
            next(trial.parameters()).detach().cpu()  # which waits for an accelerator
            times.append(time.perf_counter() - began)
    return sorted(times)[len(times) // 2] / TRIAL_BATCH


def faces_of_method(method: str, faces: int, classes: int) -> float:
    """See faces_of_training. Methods of other packages, of which nothing is known, count as pruning
    by a ranking that costs nothing."""
    return faces_of_training(REPAIRS[method](0) if method in REPAIRS else Pruning(), faces, classes)


def faces_of_training(repair: Repair, faces: int, classes: int) -> float:
    """How many faces of a training step take as long as a repair with so many clean ones, of a
    network of so many classes."""
    match repair:
        case Distillation():
            pictures = repair.rounds_for(faces) * repair.passes * repair.lesson
            tuning = faces_of_training(repair.tuning_for(faces, classes), faces, classes)
            return tuning + COVERED * pictures
        case FineTuning():
            return VARIED * repair.epochs * faces
        case SharpnessAwareFineTuning():
            return TWO_GRADIENTS * repair.epochs * faces
        case AdversarialUnlearning():
            return UNLEARNED * repair.rounds * faces
        case _:
            return SWEPT * faces + _faces_of_ranking(getattr(repair, "ranking", None), faces)


def faces_of_relearning(repairs: int, faces: int) -> float:
    """How many faces of a training step take as long as the training of one clean twin, and the
    curves of so many repaired networks and of the twins repaired alike."""
    measured = CLASSIFIED * 2 * MOST_MEASURED * len(MEASURED_AFTER)
    curve = STEPS * BATCH + measured
    twin = VARIED * twin_epochs(faces) * faces
    return twin + 2 * len(NUMBERS) * curve * repairs if repairs else 0.0


def faces_of_detectors(names: Iterable[str], valid: int, measured: int) -> float:
    """How many faces of a training step take as long as these detectors: their calibration with so
    many clean validation images, and the scores of these and of so many measured images."""
    faces = 0.0
    for name in names:
        score = SCORED_BY_STRIP if name == "strip" else SCORED
        faces += score * (valid + measured)
        faces += (EXPERT_TRAINED if name == "badexpert" else CALIBRATED) * valid
    return faces


def _faces_of_ranking(ranking: Ranking | None, faces: int) -> float:
    match ranking:
        case AdversarialNeuronPruning():
            return ROBUST * ranking.iterations * ranking.batch
        case ReconstructiveNeuronPruning():
            return MASKED * (ranking.unlearning_epochs + ranking.epochs) * faces
        case _:
            return 0.0


def faces_of_scan(scan: Scan, classes: int) -> float:
    """How many faces of a training step take as long as a scan for so many classes, which may end
    earlier."""
    match scan:
        case MaximumMargin() | NeuralCleanse():
            return scan.images_shown(classes)
        case _:
            return 0.0
