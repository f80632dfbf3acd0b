"""A repair, from its settings to its output folder."""

from __future__ import annotations

from dataclasses import replace

from ytf_torch.defences.baseline import check_pixel_scale_by_accuracy
from ytf_torch.defences.doubts import set_doubts
from ytf_torch.defences.evaluation import evaluate
from ytf_torch.defences.relearning import RelearningImages, clean_twin, relearning
from ytf_torch.defences.repairing import RepairOutcome, repair_and_measure
from ytf_torch.device import resolve_device
from ytf_torch.errors import CannotRepairError
from ytf_torch.images.image_set import ImageSet, ImageSets
from ytf_torch.network.checkpoint import Checkpoint
from ytf_torch.network.module import Network
from ytf_torch.network.wrapped_module import save_network
from ytf_torch.progress import Track, untracked
from ytf_torch.report.repair.repair_page import repair_html
from ytf_torch.report.repair.repair_record import repair_record
from ytf_torch.run.finished import write_report
from ytf_torch.run.inputs import sets_record
from ytf_torch.run.learning import check_finite_on, check_learning
from ytf_torch.run.pair import Opened, open_network
from ytf_torch.run.relearning import open_relearning
from ytf_torch.run.repair_settings import MODEL_FILE, MeasuredInputs, RepairSettings
from ytf_torch.run.resume import filled_folder
from ytf_torch.run.sets import open_sets


def open_repair(settings: MeasuredInputs) -> tuple[Opened, ImageSets]:
    """Open the network and the image sets, and check them. Warnings about the sets are added to
    the network's `doubts`. Raises InputError."""
    opened = open_network(settings.model, settings.preprocessing)
    network = opened.badnet.model.to(resolve_device(settings.device))
    sets = open_sets(
        network,
        settings.clean_valid,
        settings.clean_test,
        settings.poisoned_test,
        settings.target,
    )
    check_learning(network, sets.clean_valid, settings.used)
    baseline = evaluate(
        network,
        sets.clean_test,
        sets.poisoned_tests,
        clean_valid=sets.clean_valid,
        pairings=sets.pairings,
    )
    assert baseline.clean_valid is not None
    check_finite_on(sets.clean_valid, baseline.clean_valid, settings.used)
    check_pixel_scale_by_accuracy(network, sets.clean_valid, baseline.clean_valid)
    return opened.doubted(set_doubts(network, sets, baseline)), sets


def repair(
    settings: RepairSettings,
    opened: Opened,
    sets: ImageSets,
    command: str,
    track: Track = untracked,
) -> RepairOutcome:
    """Run a repair and write its folder atomically: repaired.safetensors, result.json, report.html.

    opened, sets: see open_repair. command: quoted in the report to repeat the run.
    Raises InputError where the method is unknown, OUT is taken, or an image set changes during the
    run.
    """
    checkpoint = opened.badnet
    with filled_folder(settings.out, sets_record(sets)) as folder:
        network = checkpoint.model.to(resolve_device(settings.device))
        relearned_from = open_relearning(settings, network, sets)
        outcome = _repaired(settings, opened, network, sets, track)
        if relearned_from is not None:
            outcome = _relearned(
                outcome, settings, network, sets.clean_valid, relearned_from, track
            )
        save_network(repaired_checkpoint(checkpoint, outcome), folder / MODEL_FILE)
        record = repair_record(outcome, checkpoint.provenance, opened.doubts)
        page = repair_html(outcome, checkpoint.provenance, command, opened.doubts)
        write_report(folder, record, page)
    return outcome


def _repaired(
    settings: RepairSettings, opened: Opened, network: Network, sets: ImageSets, track: Track
) -> RepairOutcome:
    """Make and measure the repair. Where it cannot be made, a grave warning about the image sets is
    the likelier cause, and part of the error."""
    try:
        outcome = repair_and_measure(network, sets, settings.method, settings.seed, track=track)
    except CannotRepairError as error:
        if not opened.grave:
            raise
        where, problem, _ = error.args
        grave = opened.grave[0]
        cause = grave.headline.removesuffix(".")
        raise CannotRepairError(where, f"{problem}. {cause}", grave.detail) from error
    return replace(outcome, doubts=opened.grave)


def _relearned(
    outcome: RepairOutcome,
    settings: RepairSettings,
    network: Network,
    clean_valid: ImageSet,
    images: RelearningImages,
    track: Track,
) -> RepairOutcome:
    """The outcome with a measurement of relearning. network: B."""
    seed = settings.seed

    def twin() -> Network:
        return clean_twin(network, clean_valid, seed, track)

    repaired = outcome.candidate.network
    found = relearning(settings.method, seed, repaired, twin, clean_valid, images, track)
    return replace(outcome, relearning=found)


def repaired_checkpoint(checkpoint: Checkpoint, outcome: RepairOutcome) -> Checkpoint:
    """B′ with the provenance of B, extended by the steps of the repair."""
    provenance = checkpoint.provenance.then(*outcome.candidate.history)
    return Checkpoint(outcome.candidate.network, provenance)
