"""Measure whether repaired backdoors come back: open the images, measure, keep the records."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from ytf_torch.defences.base import Ranking, Repair
from ytf_torch.defences.doubts import check_distinct
from ytf_torch.defences.methods import last_candidate, repair_by
from ytf_torch.defences.names import name_of_method
from ytf_torch.defences.relearning import RelearningImages, clean_twin, relearning
from ytf_torch.defences.relearning_images import relearning_images
from ytf_torch.device import exact_float32
from ytf_torch.images.image_set import ImageSet, ImageSets
from ytf_torch.network.module import Network
from ytf_torch.progress import Track
from ytf_torch.report.relearning import relearning_record
from ytf_torch.run.repair_settings import CompareSettings, RepairSettings
from ytf_torch.run.sets import open_triggered
from ytf_torch.run.work_folder import WorkFolder

SEED = 0
"""Of the repairs that relearn, of the clean twin, and of the training."""


def open_relearning(
    settings: RepairSettings | CompareSettings, network: Network, sets: ImageSets
) -> RelearningImages | None:
    """Open the triggered validation sets, if any, and choose the images of the measurement; None
    where none is requested.

    network: B, on the device to compute on. Raises InputError where a set does not fit the network
    or holds the same images as another one, where there are too few triggered images, or where
    there can be no clean twin.
    """
    if not settings.relearning:
        return None
    network.fresh()  # raises for a module that cannot be initialised anew
    given, target = settings.poisoned_valid, settings.target
    triggered = open_triggered(network, given, "poisoned_valid", target)
    check_distinct(sets.clean_valid, sets.clean_test, (*sets.poisoned_tests, *triggered))
    return relearning_images(sets, triggered, network.device)


def with_relearning(
    records: Sequence[Mapping[str, Any]],
    methods: Sequence[tuple[str, str | Repair | Ranking]],
    inputs: tuple[Network, ImageSet, RelearningImages],
    work: WorkFolder,
    track: Track,
) -> list[Mapping[str, Any]]:
    """The records of repairs, those of seed 0 with an entry `relearning`, see relearning_record.

    methods: the name that a method's records are kept under, and the method. inputs: B, the clean
    validation images, and the images of the measurement. Each repair is made again, since only its
    figures were kept, and made of the clean twin. What an earlier start has kept is not measured
    again.
    """
    network, clean_valid, images = inputs
    by_name = {name_of_method(method): (name, method) for name, method in methods}

    @cache
    def twin() -> Network:
        return clean_twin(network, clean_valid, SEED, track)

    def measured(name: str, method: str | Repair | Ranking) -> dict[str, Any]:
        piece = f"relearning-{name}-{SEED}"
        record = work.find_record(piece)
        if record is None:
            with exact_float32():
                again = last_candidate(repair_by(method, SEED), network, clean_valid, track)
            record = relearning_record(
                relearning(method, SEED, again.network, twin, clean_valid, images, track)
            )
            work.keep_record(piece, record)
        return record

    return [
        {**record, "relearning": measured(*by_name[record["method"]])}
        if record["seed"] == SEED and "failed" not in record
        else record
        for record in records
    ]
