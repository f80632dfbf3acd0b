"""What needs no layers works on a PyTorch module of the user's own; what does says so."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from tests.defences.test_any_network import DETECTORS, RANKINGS, REPAIRS, SCANS, left_alone
from tests.made.own_module import SHAPE, SmallResNet, known_images, small_resnet
from ytf_torch.defences.base import Candidate
from ytf_torch.defences.repairs.pruning import Pruning
from ytf_torch.defences.scans.last_layer import class_kernels
from ytf_torch.errors import CannotRepairError, InputError
from ytf_torch.network.module import Network
from ytf_torch.network.wrapped_module import wrapped
from ytf_torch.progress import untracked

TRAINED_ON = ("fine-tuning", "ft-sam", "i-bau")
STATISTICS = ("running_mean", "running_var", "num_batches_tracked")


@pytest.fixture(scope="module")
def network() -> Network:
    return wrapped(small_resnet(), SHAPE, 1 / 255).model


@pytest.mark.parametrize("name", [*TRAINED_ON, "distillation"])
def test_a_repaired_network_is_a_module_of_the_same_class(name: str, network: Network) -> None:
    with left_alone(network):
        *_, candidate = REPAIRS[name].candidates(network, known_images(small_resnet()), untracked)
    repaired = candidate.network
    assert isinstance(repaired.module, SmallResNet)
    assert not repaired.module.training
    before, after = network.state_dict(), repaired.state_dict()
    assert all(bool(tensor.isfinite().all()) for tensor in after.values())
    moved = {key for key in before if not torch.equal(before[key], after[key])}
    assert {key for key in moved if key.endswith("conv1.weight")}
    statistics = {key for key in moved if key.endswith(STATISTICS)}
    assert bool(statistics) == (name == "distillation")


@pytest.mark.parametrize("name", DETECTORS)
def test_every_detector_scores_every_picture(name: str, network: Network) -> None:
    images = known_images(small_resnet())
    with left_alone(network):
        detector = DETECTORS[name](network, images)
        scores = detector.scores(network, Candidate("itself", network, ()), images.pixels[:8])
    assert scores.shape == (8,)
    assert bool(scores.isfinite().all())


@pytest.mark.parametrize("name", SCANS)
def test_every_scan_judges_every_class(name: str, network: Network) -> None:
    with left_alone(network):
        found = SCANS[name].suspicions(network, known_images(small_resnet()), untracked)
    assert len(found.anomaly) == network.classes
    assert bool(torch.tensor(found.anomaly).isfinite().all())


def test_the_last_dense_layer_speaks_for_the_classes(network: Network) -> None:
    expected = network.module.fc.weight.detach().double()[:, :, None]
    torch.testing.assert_close(class_kernels(network), expected)


class PooledClasses(nn.Module):
    """Its dense layer gives no logits."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.dense = small_resnet(), nn.Linear(4, 4)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.body(images)
        return logits + self.dense(logits).relu()


def test_without_one_the_scan_of_the_last_layer_says_so() -> None:
    other = wrapped(PooledClasses(), SHAPE, 1 / 255).model
    with pytest.raises(
        InputError, match="last-layer: its logits are not computed by a single layer of weights"
    ):
        class_kernels(other)


@pytest.mark.parametrize("name", RANKINGS)
def test_pruning_by_any_ranking_names_what_works_instead(name: str, network: Network) -> None:
    repair = Pruning((5,), ranking=RANKINGS[name])
    with pytest.raises(CannotRepairError) as error:
        list(repair.candidates(network, known_images(small_resnet()), untracked))
    assert str(error.value) == (
        "SmallResNet: no channels of it can be pruned, for it is a PyTorch module of your own, "
        "whose layers ytf-torch does not know. Choose fine-tuning, ft-sam, i-bau or distillation"
    )


class WithSecondHead(nn.Module):
    """Logits of training alone, as in GoogLeNet: some parameters have no gradient."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.second = small_resnet(), nn.Linear(4, 4)

    def forward(self, images: Tensor) -> object:
        logits = self.body(images)
        return (logits, self.second(logits)) if self.training else logits


@pytest.mark.parametrize("name", [*TRAINED_ON, "distillation"])
def test_parameters_that_no_logit_depends_on_stay(name: str) -> None:
    module = WithSecondHead()
    network = wrapped(module, SHAPE, 1 / 255).model
    *_, found = REPAIRS[name].candidates(network, known_images(module.body), untracked)
    kept = torch.equal(found.network.module.second.weight, module.second.weight)
    assert kept == (name != "distillation")
