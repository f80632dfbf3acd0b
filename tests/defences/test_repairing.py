"""A detector that cannot work on a network costs a repair nothing but that detector's figures."""

from __future__ import annotations

from pathlib import Path

import torch

from tests.made.classifiers import graph_of, recognised
from ytf_torch.defences.repairing import RepairOutcome, repair_and_measure
from ytf_torch.defences.repairs.fine_tuning import FineTuning
from ytf_torch.images.image_set import ImageSets
from ytf_torch.network.module import Network
from ytf_torch.network.preprocessing import Preprocessing
from ytf_torch.network.provenance import Provenance
from ytf_torch.report.compare.comparison_page import comparison_html
from ytf_torch.report.repair.repair_record import repair_record

REASON = (
    "the network, for the detector ibd-psc: it has no layer with weights before the one that "
    "computes its logits. Choose another with `detector`"
)


def without_inner_layers() -> Network:
    torch.manual_seed(0)
    return Network(
        graph_of((4, 4, 1), [("flatten", "Flatten", {}), ("scores", "Dense", {"units": 3})]),
        1 / 255,
    ).eval()


def repaired(folder: Path, *detectors: str) -> RepairOutcome:
    network = without_inner_layers()
    torch.nn.init.normal_(network.scores.weight)
    sets = ImageSets(recognised(network, folder))
    return repair_and_measure(network, sets, FineTuning(epochs=1, batch=8), 0, detectors)


def record_of(outcome: RepairOutcome) -> dict[str, object]:
    provenance = Provenance(
        preprocessing=Preprocessing(),
        input_shape=(1, 4, 4),
        classes=3,
        source_file="b.h5",
        source_sha256="0" * 64,
        keras_version="none",
        converter_version="0",
        history=(),
    )
    return repair_record(outcome, provenance)


def test_the_others_are_measured_and_the_reason_is_recorded_and_shown(tmp_path: Path) -> None:
    outcome = repaired(tmp_path, "ibd-psc", "goodnet", "ted")
    assert set(outcome.detectors) == {"goodnet", "ted"}
    assert outcome.not_applicable == {"ibd-psc": REASON}
    record = record_of(outcome)
    assert record["detectors_not_applicable"] == {"ibd-psc": REASON}
    page = comparison_html([record], {}, "ytf-compare", ())
    assert f"Not measured: ibd-psc ({REASON})" in page


def test_without_one_a_record_has_no_key_for_it(tmp_path: Path) -> None:
    outcome = repaired(tmp_path, "goodnet")
    assert outcome.not_applicable == {}
    assert list(record_of(outcome))[-1] == "verdict"
