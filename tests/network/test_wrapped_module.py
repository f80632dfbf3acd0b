"""A user-defined module as a network: same logits, and the module itself is not changed."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F

from tests.made.own_module import CLASSES, SHAPE, SmallResNet, pixels_of, small_resnet
from ytf_torch.defences.training import learned_statistics
from ytf_torch.errors import CannotRepairError, InputError
from ytf_torch.network.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from ytf_torch.network.compact import compact
from ytf_torch.network.pruned_layer import pruned_at
from ytf_torch.network.wrapped_module import WrappedModule, save_network, wrapped


def network_of(checkpoint: Checkpoint) -> WrappedModule:
    assert isinstance(checkpoint.model, WrappedModule)
    return checkpoint.model


@pytest.fixture
def module() -> SmallResNet:
    return small_resnet()


@pytest.fixture
def network(module: SmallResNet) -> WrappedModule:
    return network_of(wrapped(module, SHAPE, 1 / 255))


def test_it_answers_pixel_values_as_the_module_answers_what_totensor_makes_of_them(
    module: SmallResNet, network: WrappedModule
) -> None:
    pixels = pixels_of(8)
    with torch.inference_mode():
        expected = module.eval()(pixels.float().div(255))
        assert network(pixels).equal(expected)
        # The memory format of augmented faces.
        assert network(pixels.contiguous(memory_format=torch.channels_last)).equal(expected)
    assert (network.classes, network.input_shape) == (CLASSES, SHAPE)
    assert not network.training


def test_the_module_that_was_given_is_left_as_it_is(module: SmallResNet) -> None:
    module.fc.requires_grad_(requires_grad=False)
    before = copy.deepcopy(module.state_dict())
    network = network_of(wrapped(module, SHAPE, 1 / 255))
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
    assert module.training
    assert not module.fc.weight.requires_grad
    assert all(torch.equal(tensor, before[name]) for name, tensor in module.state_dict().items())
    # Frozen layers are trained too: the copy is trained as a whole.
    assert all(parameter.requires_grad for parameter in network.parameters())


def test_trained_it_keeps_its_statistics_and_drops_nothing_out(network: WrappedModule) -> None:
    pixels = pixels_of(16)
    before, answers = copy.deepcopy(network.state_dict()), network(pixels)
    assert network.train()(pixels).equal(answers)
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())


def test_statistics_are_learned_where_a_method_learns_them(network: WrappedModule) -> None:
    statistics = "module.stem.1.running_mean"
    before = network.state_dict()[statistics].clone()
    with learned_statistics(network):
        network.train()(pixels_of(16))
    learned = network.state_dict()[statistics].clone()
    assert not learned.equal(before)
    network.eval()(pixels_of(16))
    assert network.state_dict()[statistics].equal(learned)


def test_a_fresh_one_is_of_the_same_class_and_knows_nothing(network: WrappedModule) -> None:
    torch.manual_seed(5)
    fresh = network.fresh()
    torch.manual_seed(5)
    again = network.fresh()
    old, new = network.state_dict(), fresh.state_dict()
    assert isinstance(fresh.module, SmallResNet)
    assert all(torch.equal(tensor, new[name]) for name, tensor in again.state_dict().items())
    assert not any(torch.equal(new[name], old[name]) for name in old if old[name].ndim > 1)
    assert bool((new["module.stem.1.running_mean"] == 0).all())


class WithToken(nn.Module):
    """It has a parameter of its own, as transformers do."""

    def __init__(self) -> None:
        super().__init__()
        self.token = nn.Parameter(torch.ones(1))
        self.body = small_resnet()

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.body(images * self.token)
        return logits


def test_parameters_that_nothing_can_draw_anew_are_named() -> None:
    network = network_of(wrapped(WithToken(), SHAPE, 1 / 255))
    with pytest.raises(CannotRepairError, match=r"WithToken has no reset_parameters.*fine-tuning"):
        network.fresh()


def test_weights_are_saved_under_the_names_of_the_module_and_no_pickle_is(
    tmp_path: Path, module: SmallResNet
) -> None:
    checkpoint, path = wrapped(module, SHAPE, 1 / 255), tmp_path / "weights.safetensors"
    save_network(checkpoint, path)
    other = SmallResNet()
    other.load_state_dict(load_file(path))
    again = wrapped(other, SHAPE, 1 / 255)
    assert again.model(pixels_of(4)).equal(checkpoint.model(pixels_of(4)))
    assert again.provenance == checkpoint.provenance
    with pytest.raises(
        InputError, match=r"weights of a PyTorch module.*load_file.*ytf_torch\.wrap"
    ):
        load_checkpoint(path)


class SharedWeights(nn.Module):
    """Tied layers: safetensors refuses tensors that share memory."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 3, 3, padding=1)
        self.second = self.first
        self.fc = nn.Linear(3, CLASSES)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.fc(self.second(self.first(images)).mean((2, 3)))
        return logits


def test_weights_that_are_shared_are_saved(tmp_path: Path) -> None:
    checkpoint = wrapped(SharedWeights(), SHAPE, 1 / 255)
    save_network(checkpoint, tmp_path / "weights.safetensors")
    other = SharedWeights()
    other.load_state_dict(load_file(tmp_path / "weights.safetensors"))
    assert wrapped(other, SHAPE, 1 / 255).model(pixels_of(4)).equal(checkpoint.model(pixels_of(4)))


def test_what_has_to_know_its_layers_says_so(tmp_path: Path, module: SmallResNet) -> None:
    checkpoint = wrapped(module, SHAPE, 1 / 255)
    says = r"^SmallResNet: .* a PyTorch module of your own, whose layers ytf-torch does not know\. "
    with pytest.raises(CannotRepairError, match=f"{says}Choose fine-tuning, ft-sam, i-bau or dist"):
        pruned_at(checkpoint.model.graph, None, None)
    with pytest.raises(InputError, match=f"{says}Save its weights with torch.save"):
        save_checkpoint(checkpoint, tmp_path / "network.safetensors")
    with pytest.raises(InputError, match=says):
        compact(checkpoint.model)
    assert not list(tmp_path.iterdir())


class Answering(nn.Module):
    """The small ResNet with another module after it."""

    def __init__(self, end: nn.Module) -> None:
        super().__init__()
        self.body, self.end = small_resnet(), end

    def forward(self, images: Tensor) -> object:
        return self.end(self.body(images))


class AsTuple(nn.Module):
    def forward(self, logits: Tensor) -> tuple[Tensor]:
        return (logits,)


class AlwaysDropping(nn.Module):
    """A common mistake: F.dropout without `training=self.training`."""

    def forward(self, logits: Tensor) -> Tensor:
        return F.dropout(logits, 0.5)


class Overflowing(nn.Module):
    def forward(self, logits: Tensor) -> Tensor:
        return logits * float("inf")


@pytest.mark.parametrize(
    ("end", "message"),
    [
        (nn.Softmax(1), "expected logits, from before the softmax, found probabilities"),
        (nn.LogSoftmax(1), "expected logits, from before the softmax, found log-probabilities"),
        (AsTuple(), r"expected logits \(images, classes\) of 4 images, found a tuple"),
        (nn.Unflatten(1, (2, 2)), r"expected logits \(images, classes\) .* found \(4, 2, 2\)"),
        (AlwaysDropping(), "its logits for an image depend on the other images in the batch"),
        (
            nn.BatchNorm1d(CLASSES, track_running_stats=False),
            "its logits for an image depend on the other images in the batch",
        ),
        (Overflowing(), "its logits are NaN or infinite on every image"),
        (nn.Linear(9, 2), r"cannot be run on images of 3×16×12 \(RuntimeError: .*`input_shape`"),
    ],
)
def test_what_is_no_classifier_is_refused(end: nn.Module, message: str) -> None:
    with pytest.raises(InputError, match=f"^Answering: {message}"):
        wrapped(Answering(end), SHAPE, 1 / 255)


def test_modules_without_parameters_or_in_half_precision_are_refused() -> None:
    with pytest.raises(InputError, match="Flatten: a module without parameters"):
        wrapped(nn.Flatten(), SHAPE, 1 / 255)
    with pytest.raises(InputError, match=r"found \['torch.bfloat16'\]. Give module.float\(\)"):
        wrapped(small_resnet().bfloat16(), SHAPE, 1 / 255)


def test_one_logit_tells_two_classes_apart() -> None:
    network = network_of(wrapped(Answering(nn.Linear(CLASSES, 1)), SHAPE, 1 / 255))
    logits = network(pixels_of(8))
    assert network.classes == 2
    assert logits.shape == (8, 2)
    assert bool((logits[:, 0] == 0).all())


def test_weights_that_others_saved_as_safetensors_are_told_where_to_go(
    tmp_path: Path, module: SmallResNet
) -> None:
    save_file(module.state_dict(), tmp_path / "model.safetensors")
    with pytest.raises(InputError, match=r"go into the module, and that goes into ytf_torch\.wrap"):
        load_checkpoint(tmp_path / "model.safetensors")
