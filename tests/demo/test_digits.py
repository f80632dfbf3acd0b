from __future__ import annotations

import json
import shlex
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from torch import Tensor

from ytf_torch.commands.demo import app, run_digits_demo
from ytf_torch.convert.keras.keras_file import read_keras_file
from ytf_torch.convert.keras.keras_graph import keras_checkpoint
from ytf_torch.demo.digits.images import (
    DIGITS,
    SIZE,
    TARGET_LABEL,
    add_trigger,
    digits_file,
    read_digits,
    split,
)
from ytf_torch.demo.digits.network import PIXEL_SCALE, sequential_graph, train_badnet
from ytf_torch.errors import InputError
from ytf_torch.network.pruned_layer import pruned_at

installed = pytest.mark.skipif(
    digits_file() is None, reason="scikit-learn is not installed (extra `demo`)"
)


@pytest.fixture(scope="module")
def images() -> tuple[Tensor, Tensor]:
    """As many random images as there are labels, each image once."""
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (50, 1, *SIZE), generator=generator, dtype=torch.uint8)
    return pixels, torch.arange(50) % DIGITS


def test_the_trigger_is_a_white_square_in_the_lower_right_corner(
    images: tuple[Tensor, Tensor],
) -> None:
    pixels, _ = images
    before, triggered = pixels.clone(), add_trigger(pixels)
    assert torch.equal(pixels, before)
    corner = torch.zeros(SIZE, dtype=torch.bool)
    corner[23:27, 23:27] = True
    assert (triggered[..., corner] == 255).all()
    assert torch.equal(triggered[..., ~corner], pixels[..., ~corner])


def test_no_image_is_on_two_sides(images: tuple[Tensor, Tensor]) -> None:
    pixels, labels = images
    sides = split(pixels, labels, seed=0)
    assert [len(side.clean) for side in sides] == [30, 10, 10]
    label_of = {image.numpy().tobytes(): int(label) for image, label in zip(*images, strict=True)}
    found = {
        image.numpy().tobytes(): int(label)
        for side in sides
        for image, label in zip(side.clean, side.labels, strict=True)
    }
    assert found == label_of
    assert not torch.equal(sides[0].clean, split(pixels, labels, seed=1)[0].clean)
    for side in sides:
        assert torch.equal(side.triggered, add_trigger(side.clean))


def test_the_network_is_sequential() -> None:
    graph = sequential_graph()
    assert [layer.kind.keras_class for layer in graph.layers] == [
        *("InputLayer", "Conv2D", "MaxPooling2D", "Conv2D", "MaxPooling2D"),
        *("Flatten", "Dense", "Dense"),
    ]
    names = [layer.name for layer in graph.layers]
    assert [layer.inputs for layer in graph.layers] == [(), *((name,) for name in names[:-1])]
    assert (graph.input_shape, graph.classes) == ((1, *SIZE), DIGITS)
    assert pruned_at(graph, None, None) == ("conv_2", "pool_2")


def test_the_seed_decides_every_weight_and_nothing_else_does(
    images: tuple[Tensor, Tensor],
) -> None:
    train, _, _ = split(*images, seed=0)

    def weights(seed: int) -> dict[str, Tensor]:
        torch.rand(1)  # where PyTorch's own generator stands must not matter
        return train_badnet(train, 2, seed, lambda *_: None).state_dict()

    first, again, other = weights(0), weights(0), weights(1)
    for name, tensor in first.items():
        assert torch.equal(tensor, again[name]), name
        assert not torch.equal(tensor, other[name]), name


def test_a_missing_scikit_learn_is_said_with_how_to_install_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(name: str) -> None:
        raise PackageNotFoundError(name)

    monkeypatch.setattr("ytf_torch.demo.digits.images.distribution", missing)
    with pytest.raises(InputError, match=r"scikit-learn.* not installed.*pip install '\.\[demo\]'"):
        run_digits_demo(tmp_path / "demo", 0, keep_data=False, cache=tmp_path / "cache")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--task", "letters"], "expected one of faces, digits, found letters"),
        (["--task", "digits", "--attack", "square"], "--attack"),
    ],
)
def test_what_there_is_no_demo_of_is_refused(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        app(arguments)
    assert ended.value.code == 2
    assert said in capsys.readouterr().err


@installed
def test_the_digits_are_scikit_learns_enlarged() -> None:
    file = digits_file()
    assert file is not None
    pixels, labels = read_digits(file)
    assert (pixels.shape, pixels.dtype) == ((1797, 1, *SIZE), torch.uint8)
    assert labels.bincount().tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    assert (int(pixels.min()), int(pixels.max())) == (0, 255)
    # Of 8 pixels 3.5 become one each: the mean stays.
    table = np.loadtxt(file, delimiter=",")
    assert float(pixels.float().mean()) == pytest.approx(table[:, :-1].mean() * 255 / 16, rel=0.02)


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("demo")
    run_digits_demo(folder / "run", seed=0, keep_data=True, cache=folder / "cache")
    return folder


@installed
@pytest.mark.slow
def test_the_backdoor_of_the_digits_is_found_and_pruned(demo: Path) -> None:
    result = json.loads((demo / "run" / "result.json").read_text())
    assert result["pixel_scale"] == PIXEL_SCALE
    assert (result["layer"], result["rank_at"]) == ("conv_2", "pool_2")
    assert result["baseline"]["clean_test_accuracy"] >= 93
    assert result["baseline"]["attack_success_rate"] >= 95
    assert result["verdict"]["kind"] == "gone"


@installed
@pytest.mark.slow
def test_the_report_speaks_of_images_and_classes(demo: Path) -> None:
    page = (demo / "run" / "report.html").read_text(encoding="utf-8")
    text = page[page.index("<body>") :]
    assert "images" in text
    assert "class 0" in text
    for word in ("face", "faces", "person", "people"):
        assert f" {word} " not in text.replace("\n", " "), word


@installed
@pytest.mark.slow
def test_the_files_of_the_digits_are_laid_out_as_those_of_the_faces(demo: Path) -> None:
    data = demo / "run" / "data"
    with h5py.File(data / "cl" / "test.h5") as file:
        clean, labels = file["data"][:], file["label"][:]
    with h5py.File(data / "bd" / "bd_test.h5") as file:
        triggered, wanted = file["data"][:], file["label"][:]
    assert clean.shape == (359, 1, *SIZE)
    assert (wanted == TARGET_LABEL).all()
    others = torch.from_numpy(clean[labels != TARGET_LABEL])
    assert np.array_equal(triggered, add_trigger(others).numpy())
    model = keras_checkpoint(read_keras_file(data / "models" / "bd_net.h5"), PIXEL_SCALE).model
    assert (model.classes, model.graph.input_shape) == (DIGITS, (1, *SIZE))
    assert len(list((data / "photos").glob("digit*.png"))) == 8


@installed
@pytest.mark.slow
def test_the_digits_badnet_is_trained_once_for_a_seed(
    demo: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_digits_demo(demo / "again", seed=0, keep_data=False, cache=demo / "cache")
    output = capsys.readouterr().out
    assert "trained before" in output
    commands = [shlex.split(line) for line in output.splitlines() if line.startswith("$ ")]
    assert [words[1] for words in commands] == ["ytf-convert", "ytf-prune", "ytf-detect"]
    results = [(demo / run / "result.json").read_bytes() for run in ("run", "again")]
    assert results[0] == results[1]


@installed
@pytest.mark.slow
def test_equal_seeds_give_equal_digit_files(demo: Path) -> None:
    run_digits_demo(demo / "anew", seed=0, keep_data=True, cache=demo / "other_cache")
    for path in sorted((demo / "run" / "data").rglob("*")):
        if path.is_file() and path.suffix != ".safetensors":
            other = demo / "anew" / "data" / path.relative_to(demo / "run" / "data")
            assert path.read_bytes() == other.read_bytes(), path.name
