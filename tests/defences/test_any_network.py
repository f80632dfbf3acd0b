"""Every ranking, repair, detector and scan works on every network, whatever its layers, its
channels and its size, and leaves it as it is."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from tests.made.classifiers import GRAPHS, classifier, conv, graph_of, recognised
from ytf_torch.defences.base import Candidate, Detector, Ranking, Repair, Scan
from ytf_torch.defences.detectors.badexpert import BadExpert
from ytf_torch.defences.detectors.energy_and_dissent import EnergyAndDissent
from ytf_torch.defences.detectors.goodnet import Disagreement
from ytf_torch.defences.detectors.ibd_psc import ParameterScaling
from ytf_torch.defences.detectors.scale_up import ScaleUp
from ytf_torch.defences.detectors.strip import Strip
from ytf_torch.defences.detectors.ted import TopologicalEvolution
from ytf_torch.defences.rankings.anp import AdversarialNeuronPruning
from ytf_torch.defences.rankings.clp import ChannelLipschitz
from ytf_torch.defences.rankings.kernel_norm import KernelNorm
from ytf_torch.defences.rankings.mean_activation import MeanActivation
from ytf_torch.defences.rankings.rnp import ReconstructiveNeuronPruning
from ytf_torch.defences.repairs.distillation import Distillation
from ytf_torch.defences.repairs.fine_tuning import FineTuning
from ytf_torch.defences.repairs.ft_sam import SharpnessAwareFineTuning
from ytf_torch.defences.repairs.i_bau import AdversarialUnlearning
from ytf_torch.defences.repairs.pruning import Pruning
from ytf_torch.defences.scans.last_layer import LastLayerOutliers, class_kernels
from ytf_torch.defences.scans.mm_bd import MaximumMargin
from ytf_torch.defences.scans.neural_cleanse import NeuralCleanse
from ytf_torch.errors import CannotRepairError, InputError
from ytf_torch.images.image_set import ImageSet
from ytf_torch.network.module import Network
from ytf_torch.progress import untracked

RANKINGS: dict[str, Ranking] = {
    "mean-activation": MeanActivation(),
    "kernel-norm": KernelNorm(),
    "clp": ChannelLipschitz(),
    "anp": AdversarialNeuronPruning(iterations=2, batch=8),
    "rnp": ReconstructiveNeuronPruning(unlearning_epochs=1, epochs=1, batch=8),
}
REPAIRS: dict[str, Repair] = {
    "fine-tuning": FineTuning(epochs=1, batch=8),
    "distillation": Distillation(
        rounds=1, lesson=16, passes=1, batch=8, fine_tuning=FineTuning(epochs=1, batch=8)
    ),
    "ft-sam": SharpnessAwareFineTuning(epochs=1, batch=8),
    "i-bau": AdversarialUnlearning(rounds=1, batch=8),
    "pruning": Pruning((5,)),
}
DETECTORS: dict[str, Callable[[Network, ImageSet], Detector]] = {
    "goodnet": lambda network, faces: Disagreement(),
    "energy-and-dissent": lambda network, faces: EnergyAndDissent(faces),
    "strip": lambda network, faces: Strip(faces, overlays=3),
    "badexpert": lambda network, faces: BadExpert(network, faces, epochs=1, batch=8),
    "scale-up": ScaleUp,
    "ibd-psc": ParameterScaling,
    "ted": TopologicalEvolution,
}
SCANS: dict[str, Scan] = {
    "last-layer": LastLayerOutliers(),
    "mm-bd": MaximumMargin(starts=2, steps=2),
    "neural-cleanse": NeuralCleanse(steps=2, batch=4),
}

every_network = pytest.mark.parametrize("kind", GRAPHS)


@contextmanager
def left_alone(network: Network) -> Iterator[None]:
    before = copy.deepcopy(network.state_dict())
    yield
    for key, value in network.state_dict().items():
        assert torch.equal(value, before[key]), key
    assert all(parameter.grad is None for parameter in network.parameters())
    assert not network.training


@every_network
@pytest.mark.parametrize("name", RANKINGS)
def test_every_channel_of_every_layer_gets_a_finite_score(
    name: str, kind: str, tmp_path: Path
) -> None:
    network = classifier(kind)
    faces = recognised(network, tmp_path)
    for layer in network.graph.convolutions:
        with left_alone(network):
            scores = RANKINGS[name].scores(network, layer, faces, untracked)
        assert len(scores) == network.output_shape(layer)[0]
        assert bool(torch.tensor(scores).isfinite().all())


@every_network
@pytest.mark.parametrize("name", REPAIRS)
def test_a_repair_gives_another_network_of_the_same_layers(
    name: str, kind: str, tmp_path: Path
) -> None:
    network = classifier(kind)
    faces = recognised(network, tmp_path)
    with left_alone(network):
        *_, candidate = REPAIRS[name].candidates(network, faces, untracked)
    repaired = candidate.network
    assert not repaired.training
    assert (repaired.graph, repaired.pixel_scale) == (network.graph, network.pixel_scale)
    before, after = network.state_dict(), repaired.state_dict()
    assert all(bool(value.isfinite().all()) for value in after.values())
    assert any(not torch.equal(after[key], before[key]) for key in before)


@every_network
@pytest.mark.parametrize("name", DETECTORS)
def test_every_picture_gets_a_finite_suspicion(name: str, kind: str, tmp_path: Path) -> None:
    network = classifier(kind)
    faces = recognised(network, tmp_path)
    pixels = next(iter(faces.batches(8))).pixels
    with left_alone(network):
        scores = DETECTORS[name](network, faces).scores(
            network, Candidate("itself", network, ()), pixels
        )
    assert scores.shape == (8,)
    assert bool(scores.isfinite().all())


@every_network
@pytest.mark.parametrize("name", SCANS)
def test_every_class_gets_a_finite_anomaly(name: str, kind: str, tmp_path: Path) -> None:
    network = classifier(kind)
    faces = recognised(network, tmp_path)
    with left_alone(network):
        found = SCANS[name].suspicions(network, faces, untracked)
    assert len(found.anomaly) == network.classes
    assert bool(torch.tensor(found.anomaly).isfinite().all())
    for trigger in found.triggers.values():
        assert trigger.pattern.shape == network.input_shape


@pytest.mark.parametrize("name", ["fine-tuning", "ft-sam", "i-bau", "distillation"])
def test_only_a_network_that_starts_afresh_learns_statistics(name: str, tmp_path: Path) -> None:
    network = classifier("Sequential with batch normalization")
    faces = recognised(network, tmp_path)
    (candidate,) = REPAIRS[name].candidates(network, faces, untracked)
    statistics = [key for key in network.state_dict() if key.endswith((".mean", ".variance"))]
    assert len(statistics) == 6
    moved = {
        key: not torch.equal(network.state_dict()[key], candidate.network.state_dict()[key])
        for key in statistics
    }
    assert set(moved.values()) == {name == "distillation"}


def test_a_batch_normalizations_scale_counts_as_the_channels_own() -> None:
    """Channel 2 is amplified most by its kernel, channel 4 with its scale."""
    network = classifier("Sequential with batch normalization")
    with torch.no_grad():
        network.second.weight[2] *= 10
        network.second_norm.weight[4] = 1000
    scores = {
        layer: ChannelLipschitz().scores(network, layer, None, untracked)  # type: ignore[arg-type]
        for layer in ("second", "second_norm")
    }
    assert scores["second"] == scores["second_norm"]
    assert min(range(6), key=scores["second"].__getitem__) == 4
    norm = network.second_norm
    scale = 1000 / (float(norm.variance[4]) + norm.epsilon) ** 0.5
    kernel = network.second.weight[4].detach().double().flatten(1)
    expected = -float(torch.linalg.svdvals(kernel)[0]) * abs(scale)
    assert scores["second"][4] == pytest.approx(expected)


def test_the_scale_of_a_class_in_front_of_a_pooling_is_that_of_its_convolution() -> None:
    network = classifier("ResNet")
    expected = network.classes_maps.weight.detach().double().flatten(2)
    torch.testing.assert_close(class_kernels(network), expected)


def test_one_unit_speaks_for_yes_and_against_no() -> None:
    network = classifier("one unit")
    no, yes = class_kernels(network)
    assert torch.equal(yes[:, 0], network.yes.weight[0].detach().double())
    assert torch.equal(no, -yes)


def test_a_network_of_dense_layers_cannot_be_pruned_and_says_so(tmp_path: Path) -> None:
    graph = graph_of((4, 4, 1), [("flatten", "Flatten", {}), ("scores", "Dense", {"units": 3})])
    network = Network(graph).eval()
    faces = recognised(network, tmp_path)
    with pytest.raises(CannotRepairError, match="has no convolution"):
        next(Pruning().candidates(network, faces, untracked))


def test_a_channel_that_no_weights_silence_cannot_be_pruned_and_says_so(tmp_path: Path) -> None:
    graph = graph_of(
        (4, 4, 1),
        [
            conv("sigmoid", 3, activation="sigmoid"),
            ("flatten", "Flatten", {}),
            ("scores", "Dense", {"units": 3}),
        ],
    )
    network = Network(graph).eval()
    faces = recognised(network, tmp_path)
    with pytest.raises(CannotRepairError, match="no convolution whose channels could be"):
        next(Pruning().candidates(network, faces, untracked))


def test_classes_that_two_layers_speak_for_cannot_be_scanned_and_say_so(tmp_path: Path) -> None:
    graph = graph_of(
        (4, 4, 1),
        [
            ("flatten", "Flatten", {}),
            ("one", "Dense", {"units": 3}),
            ("other", "Dense", {"units": 3}, ("flatten",)),
            ("sum", "Add", {}, ("one", "other")),
        ],
    )
    network = Network(graph).eval()
    faces = recognised(network, tmp_path)
    with pytest.raises(InputError, match="last-layer: its logits are not computed by a single"):
        LastLayerOutliers().suspicions(network, faces, untracked)
