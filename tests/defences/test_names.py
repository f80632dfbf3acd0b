from __future__ import annotations

from ytf_torch.defences import methods, names


def test_names_are_those_of_the_methods() -> None:
    assert tuple(methods.REPAIRS) == names.REPAIRS
    assert tuple(methods.DETECTORS) == names.DETECTORS
    assert tuple(methods.SCANS) == names.SCANS
    assert names.RECOMMENDED_REPAIR in names.REPAIRS
    assert set(names.QUICK_DETECTORS) <= set(names.DETECTORS)


def test_what_is_recommended_can_be_called_so() -> None:
    assert names.repair_called("recommended") == names.RECOMMENDED_REPAIR
    assert names.detector_called("recommended") == names.RECOMMENDED_DETECTOR
    assert names.repair_called("clp") == "clp"
    assert names.detector_called("strip") == "strip"
    assert names.RECOMMENDED_DETECTOR in names.DETECTORS
