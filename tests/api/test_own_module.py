"""A user-defined PyTorch module in all Python functions."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

import ytf_torch
from tests.made.own_module import CLASSES, SHAPE, SmallResNet, known_images, pixels_of, small_resnet
from ytf_torch.defences.repairs.fine_tuning import FineTuning
from ytf_torch.network.module import Network
from ytf_torch.network.preprocessing import KERAS_MODES

# What is called with arguments of wrong types too.
PYTHON: Any = ytf_torch
Sets = tuple[ytf_torch.ImagesInMemory, ytf_torch.ImagesInMemory, ytf_torch.ImagesInMemory]


@pytest.fixture(scope="module")
def sets() -> Sets:
    """Clean validation and test images that the module classifies correctly, and triggered ones
    with a white bar."""
    known = known_images(small_resnet(), 64)
    pixels = known.pixels[32:].clone()
    pixels[:, :, :4] = 255
    return (
        ytf_torch.images_of(known.pixels[:32], known.labels[:32]),
        ytf_torch.images_of(known.pixels[32:], known.labels[32:]),
        ytf_torch.images_of(pixels, np.zeros(32)),
    )


@pytest.fixture(scope="module")
def badnet() -> ytf_torch.Checkpoint:
    return ytf_torch.wrap(small_resnet(), SHAPE)


@pytest.fixture(scope="module")
def repaired(badnet: ytf_torch.Checkpoint, sets: Sets) -> ytf_torch.RepairResult:
    return ytf_torch.repair(badnet, *sets, method=FineTuning(epochs=2, batch=8), device="cpu")


def test_it_is_evaluated(badnet: ytf_torch.Checkpoint, sets: Sets) -> None:
    found = ytf_torch.evaluate(badnet, *sets[1:])
    assert found.model.clean_accuracy is not None
    assert found.model.clean_accuracy.rate == 100


def test_a_module_reads_what_its_preprocessing_makes_of_pixels() -> None:
    module, pixels = small_resnet().eval(), pixels_of(8)
    checkpoint = ytf_torch.wrap(module, SHAPE, preprocessing="torch")
    assert checkpoint.provenance.preprocessing == KERAS_MODES["torch"]
    mean = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)
    deviation = torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)
    with torch.inference_mode():
        expected = module((pixels / 255 - mean) / deviation)
        torch.testing.assert_close(checkpoint.model(pixels), expected, rtol=1e-4, atol=1e-4)


def test_a_wrong_pixel_scale_is_noticed_by_the_accuracy(sets: Sets) -> None:
    with pytest.raises(ytf_torch.InputError, match=r"clean accuracy is .* with 1/255"):
        ytf_torch.evaluate(ytf_torch.wrap(small_resnet(), SHAPE, pixel_scale=1), sets[1])


def test_the_module_in_front_of_which_images_are_normalised(sets: Sets) -> None:
    class Normalize(nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return (images - 0.5) / 0.25

    class Back(nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return images * 0.25 + 0.5

    module = nn.Sequential(Normalize(), nn.Sequential(Back(), small_resnet()))
    found = ytf_torch.evaluate(ytf_torch.wrap(module, SHAPE), sets[1]).model.clean_accuracy
    assert found is not None
    assert found.rate == 100


def test_it_is_scanned(badnet: ytf_torch.Checkpoint, sets: Sets, tmp_path: Path) -> None:
    found = ytf_torch.scan(badnet, sets[0], methods="last-layer")
    assert len(found.suspicions["last-layer"].anomaly) == CLASSES
    assert "SmallResNet" in found.write_report(tmp_path / "scanned").read_text(encoding="utf-8")


def test_the_repaired_module_is_handed_on_without_this_package(
    repaired: ytf_torch.RepairResult, tmp_path: Path
) -> None:
    pixels = pixels_of(8)
    with torch.inference_mode():
        expected = repaired.network(pixels)
    module = repaired.network.module
    assert type(module) is SmallResNet
    torch.save(module.state_dict(), tmp_path / "repaired.pth")
    repaired.save(tmp_path / "repaired.safetensors")
    report = repaired.write_report(tmp_path / "repaired")
    states = (
        torch.load(tmp_path / "repaired.pth", weights_only=True),
        load_file(tmp_path / "repaired.safetensors"),
        load_file(report.parent / "repaired.safetensors"),
    )
    for state in states:
        other = SmallResNet()
        other.load_state_dict(state)
        with torch.inference_mode():
            assert other.eval()(pixels / 255).equal(expected)
    assert "SmallResNet" in report.read_text(encoding="utf-8")


def test_what_was_done_to_it_is_told(repaired: ytf_torch.RepairResult) -> None:
    assert repaired.checkpoint.provenance.history == (
        "SmallResNet, a PyTorch module, was wrapped",
        "fine-tuned on 32 clean faces, varied, for 2 epochs",
    )


@pytest.mark.parametrize("detector", [None, "recommended", "strip"])
def test_it_detects_with_what_was_repaired(
    badnet: ytf_torch.Checkpoint,
    repaired: ytf_torch.RepairResult,
    sets: Sets,
    detector: str | None,
) -> None:
    asked: dict[str, Any] = {} if detector is None else {"clean_valid": sets[0]}
    again = SmallResNet()
    again.load_state_dict(repaired.network.module.state_dict())
    # B′ of this process, and one that was saved, loaded and wrapped.
    for copy in (repaired.checkpoint, ytf_torch.wrap(again, SHAPE)):
        found = ytf_torch.detect(badnet, copy, sets[2], detector=detector, **asked)
        assert len(found.answers) == 32
        assert not found.warnings


def test_a_module_of_another_class_is_no_repaired_one(badnet: ytf_torch.Checkpoint) -> None:
    torch.manual_seed(1)
    parts = nn.Conv2d(3, 8, 3, bias=False), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    other = ytf_torch.wrap(nn.Sequential(*parts, nn.Linear(8, CLASSES)), SHAPE)
    found = ytf_torch.detect(badnet, other, known_images(small_resnet()))
    assert any("may be of another network" in warning for warning in found.warnings)


@pytest.mark.slow
def test_it_is_compared(badnet: ytf_torch.Checkpoint, sets: Sets) -> None:
    methods: list[Any] = ["pruning", "i-bau", FineTuning(epochs=1, batch=8)]
    found = ytf_torch.compare(badnet, *sets, methods=methods)
    failed = {record["method"]: record.get("failed") for record in found.record["repairs"]}
    assert "no channels of it can be pruned" in failed["pruning"]
    assert failed["i-bau"] is failed["FineTuning"] is None


@pytest.mark.parametrize("name", ["b.pt2", "goodnet.pt2"])
def test_it_is_exported_as_a_program_of_pytorch(
    badnet: ytf_torch.Checkpoint, repaired: ytf_torch.RepairResult, tmp_path: Path, name: str
) -> None:
    goodnet = repaired.checkpoint if name == "goodnet.pt2" else None
    assert ytf_torch.export(badnet, tmp_path / name, goodnet=goodnet).held


def exported(ending: str) -> Callable[..., Any]:
    return lambda b, v, out: ytf_torch.export(b, out / f"b{ending}")


NO_CHANNELS = ("no channels of it can be pruned", "Choose fine-tuning, ft-sam, i-bau or dist")
NO_FILE = ("no file of Keras or ytf-torch can hold it", "Save its weights with torch.save")
NO_ONNX = ("it cannot be written as ONNX", "Give a name that ends in .pt2, or export")


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda b, v, out: ytf_torch.defend(b, v), NO_CHANNELS),
        (lambda b, v, out: ytf_torch.repair(b, v, method="pruning"), NO_CHANNELS),
        (lambda b, v, out: ytf_torch.audit(b, v), ("it cannot be audited", "Call ytf_torch.scan")),
        (lambda b, v, out: ytf_torch.compact(b.model), ("it cannot be rebuilt", "Copy the")),
        (exported(".h5"), NO_FILE),
        (exported(".keras"), NO_FILE),
        (exported(".weights.h5"), NO_FILE),
        (exported(".safetensors"), NO_FILE),
        (exported(".onnx"), NO_ONNX),
    ],
)
def test_what_needs_its_layers_says_so_and_what_to_do(
    badnet: ytf_torch.Checkpoint,
    sets: Sets,
    tmp_path: Path,
    call: Callable[..., Any],
    says: tuple[str, str],
) -> None:
    why = "for it is a PyTorch module of your own, whose layers ytf-torch does not know"
    with pytest.raises(ytf_torch.InputError) as error:
        call(badnet, sets[0], tmp_path)
    problem, remedy = says
    assert str(error.value).startswith(f"SmallResNet: {problem}, {why}. {remedy}")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: PYTHON.wrap("net.pth", SHAPE),
            "`module`: expected a PyTorch module, found a str. Create the module",
        ),
        (lambda: PYTHON.wrap(small_resnet(), 16), r"`input_shape`: expected \(channels, height"),
        (lambda: PYTHON.wrap(small_resnet(), (3, 16, 0)), r"`input_shape`: .*found \(3, 16, 0\)"),
        (lambda: PYTHON.wrap(small_resnet(), (1, 16, 12)), "cannot be run on images of 1×16×12"),
        (lambda: PYTHON.wrap(small_resnet(), SHAPE, pixel_scale=255), "1 or less, found 255"),
        (
            lambda: PYTHON.wrap(small_resnet(), SHAPE, pixel_scale=1, preprocessing="torch"),
            "expected one of them, found both",
        ),
        (
            lambda: PYTHON.evaluate(small_resnet(), known_images(small_resnet())),
            "`model`: .* found a SmallResNet. ytf_torch.wrap makes a Checkpoint",
        ),
    ],
)
def test_what_cannot_be_wrapped(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(ytf_torch.InputError, match=message):
        call()


def test_a_network_of_this_package_is_not_wrapped(checkpoint: ytf_torch.Checkpoint) -> None:
    assert isinstance(checkpoint.model, Network)
    with pytest.raises(ytf_torch.InputError, match=r"`module`: .* is a network already"):
        ytf_torch.wrap(checkpoint.model, checkpoint.model.input_shape)
