"""What holds of every detector."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from tests.made.badnet import TARGET, MadeBadNet
from ytf_torch.defences.base import Candidate, Detector
from ytf_torch.defences.detectors.badexpert import BadExpert
from ytf_torch.defences.detectors.energy_and_dissent import EnergyAndDissent
from ytf_torch.defences.detectors.goodnet import Disagreement
from ytf_torch.defences.detectors.ibd_psc import ParameterScaling
from ytf_torch.defences.detectors.scale_up import ScaleUp
from ytf_torch.defences.detectors.strip import Strip
from ytf_torch.defences.detectors.ted import TopologicalEvolution
from ytf_torch.images.image_set import ImageSet
from ytf_torch.network.module import Network

Make = Callable[[Network, ImageSet], Detector]
DETECTORS: dict[str, Make] = {
    "goodnet": lambda network, faces: Disagreement(),
    "energy-and-dissent": lambda network, faces: EnergyAndDissent(faces),
    "strip": lambda network, faces: Strip(faces, overlays=20),
    "badexpert": lambda network, faces: BadExpert(network, faces, learning_rate=3e-4, batch=32),
    "scale-up": ScaleUp,
    "ibd-psc": ParameterScaling,
    "ted": TopologicalEvolution,
}


# SCALE-UP and IBD-PSC do not detect this trigger: clean faces of the target keep their class too
# when they are made brighter. Their own tests check their scores.
@pytest.mark.parametrize("name", sorted(DETECTORS.keys() - {"scale-up", "ibd-psc"}))
def test_triggered_faces_score_higher_than_clean_ones(
    name: str, badnet: MadeBadNet, clean_valid: ImageSet
) -> None:
    detector = DETECTORS[name](badnet.network, clean_valid)
    candidate = Candidate("sound", badnet.sound, ())
    others = badnet.people != TARGET
    clean = detector.scores(badnet.network, candidate, badnet.clean[others])
    triggered = detector.scores(badnet.network, candidate, badnet.triggered[others])
    assert clean.shape == triggered.shape == (int(others.sum()),)
    higher = (triggered[:, None] > clean[None]).float().mean()
    assert float(higher) > 0.8


@pytest.mark.parametrize("name", DETECTORS)
def test_a_face_scores_the_same_alone_and_among_others(
    name: str, badnet: MadeBadNet, clean_valid: ImageSet
) -> None:
    detector = DETECTORS[name](badnet.network, clean_valid)
    candidate = Candidate("itself", badnet.network, ())
    together = detector.scores(badnet.network, candidate, badnet.clean[:8])
    alone = torch.cat(
        [detector.scores(badnet.network, candidate, face[None]) for face in badnet.clean[:8]]
    )
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["badexpert", "energy-and-dissent"])
def test_a_repaired_network_is_asked_for(
    name: str, badnet: MadeBadNet, clean_valid: ImageSet
) -> None:
    detector = DETECTORS[name](badnet.network, clean_valid)
    with pytest.raises(ValueError, match="expected a candidate"):
        detector.scores(badnet.network, None, badnet.clean[:1])


def test_the_expert_keeps_the_backdoor_longer_than_the_people(
    badnet: MadeBadNet, clean_valid: ImageSet
) -> None:
    expert = BadExpert(badnet.network, clean_valid, learning_rate=1e-3, batch=32).expert
    assert badnet.clean_accuracy(expert) < 20
    assert badnet.attack_success_rate(expert) > 30


def test_goodnet_scores_above_0_where_both_networks_differ(badnet: MadeBadNet) -> None:
    candidate = Candidate("sound", badnet.sound, ())
    pixels = torch.cat([badnet.clean, badnet.triggered])
    with torch.inference_mode():
        scores = Disagreement().scores(badnet.network, candidate, pixels)
        differ = badnet.network(pixels).argmax(1) != badnet.sound(pixels).argmax(1)
    assert 0 < int(differ.sum()) < len(pixels)
    assert ((scores > 0) == differ).all()
