"""The functions refuse what the commands refuse, naming the argument."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import ytf_torch
from tests.made.keras_files import LAB, SMALL, random_images, random_weights, write_keras_file
from tests.made.small_run import TARGET, small_sets
from ytf_torch.network.checkpoint import Checkpoint

PIXELS = random_images(SMALL, 12)
FLOATS = PIXELS.astype(np.float32)


def with_value(value: float) -> np.ndarray:
    """Valid images, except for one value of the fourth."""
    pixels = FLOATS.copy()
    pixels[3, 0, 5, 5] = value
    return pixels


WRONG_PIXELS = [
    pytest.param(FLOATS / 255, r"`pixels`, image 0: .* divided by 255 .*pixels \* 255", id="0–1"),
    pytest.param(FLOATS / 127.5 - 1, r"scaled to −1…1.*\(pixels \+ 1\) \* 127\.5", id="−1…1"),
    pytest.param(with_value(np.nan), "`pixels`, image 3: expected .*0–255, found NaN", id="NaN"),
    pytest.param(with_value(np.inf), "`pixels`, image 3: .*infinite", id="infinite"),
    pytest.param(FLOATS.astype(np.float64) * 1e300, "found 0 to 2.55e", id="too large"),
    pytest.param(with_value(-9), r"np\.clip\(pixels, 0, 255\)", id="noise"),
    pytest.param(PIXELS.astype(np.uint16) * 257, "found 0 to 65535", id="16 bits"),
    pytest.param([["a"]], "`pixels`: expected an array of numbers", id="text"),
    pytest.param(torch.zeros(2, dtype=torch.complex64), "an array of numbers", id="complex"),
    pytest.param([[1, 2], [3]], "`pixels`: expected an array of one shape", id="ragged"),
]


@pytest.mark.parametrize(("pixels", "message"), WRONG_PIXELS)
def test_pixels_that_are_not_0_to_255(checkpoint: Checkpoint, pixels: Any, message: str) -> None:
    with pytest.raises(ytf_torch.InputError, match=message):
        ytf_torch.predict(checkpoint.model, pixels)
    with pytest.raises(ytf_torch.InputError):
        ytf_torch.images_of(pixels, np.zeros(12))


def test_no_images_are_no_set() -> None:
    with pytest.raises(ytf_torch.InputError, match=r"^`pixels`: the set is empty$"):
        ytf_torch.images_of(PIXELS[:0], [])


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((12, 55, 47, 3), r"12×55×47×3 \(channels last\). Give pixels.transpose\(0, 3, 1, 2\)"),
        ((3, 55, 47), r"\(a single image\). Add an axis: give pixels\[None\]"),
        ((12, 3, 47, 62), "expected N×3×55×47, found 12×3×47×62"),
    ],
)
def test_faces_of_another_shape(
    checkpoint: Checkpoint, shape: tuple[int, ...], message: str
) -> None:
    with pytest.raises(ytf_torch.InputError, match=message):
        ytf_torch.predict(checkpoint.model, np.full(shape, 128))


@pytest.mark.parametrize(
    "changed",
    [
        pytest.param(lambda pixels: pixels[:, ::-1], id="channels reversed"),
        pytest.param(lambda pixels: pixels[..., ::-1], id="mirrored"),
        pytest.param(lambda pixels: pixels.astype(">f4"), id="big-endian"),
        pytest.param(lambda pixels: pixels.astype(np.int64), id="int64"),
        pytest.param(lambda pixels: torch.from_numpy(pixels).bfloat16(), id="bfloat16"),
        pytest.param(lambda pixels: pixels[:0], id="none"),
    ],
)
def test_any_array_of_pixels_is_taken(
    checkpoint: Checkpoint, changed: Callable[[np.ndarray], Any]
) -> None:
    given = changed(PIXELS)
    plain = given.float() if isinstance(given, torch.Tensor) else np.array(given, np.float32)
    expected = checkpoint.model(torch.as_tensor(plain)).argmax(1)
    assert (ytf_torch.predict(checkpoint.model, given) == expected.numpy()).all()


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.eye(12), r"`labels`: expected 12 whole numbers.* \(one-hot\). Give labels.argmax\(1\)"),
        ([0] * 11, "expected 12 whole numbers, the class of each image, found 11"),
        ([*[0] * 11, -1], "0 or more, found -1 at 11"),
        ([*[0] * 11, 0.5], "found 0.5 at 11"),
        ([*[0] * 11, np.nan], "found nan at 11"),
        ([*[0] * 11, np.inf], "found inf at 11"),
        (["0"] * 12, "`labels`: expected an array of numbers"),
        ([b"0"] * 12, "`labels`: expected an array of numbers"),
        ([None] * 12, "`labels`: expected an array of numbers"),
    ],
)
def test_labels_that_are_no_classes(labels: Any, message: str) -> None:
    with pytest.raises(ytf_torch.InputError, match=message):
        ytf_torch.images_of(PIXELS, labels)


@pytest.mark.parametrize("shape", [(12,), (12, 1), (1, 12)])
def test_labels_may_have_any_shape_of_one_each(shape: tuple[int, ...]) -> None:
    labels = np.arange(12) % 7
    assert (ytf_torch.images_of(PIXELS, labels.reshape(shape)).labels == labels).all()


@pytest.fixture
def files(tmp_path: Path, keras_file: Path, checkpoint: Checkpoint) -> dict[str, Path]:
    """B, B′, another network, and image sets."""
    small_sets(tmp_path / "faces", checkpoint)
    pruned = ytf_torch.pruned_checkpoint(checkpoint, "conv_3", "pool_3", [0, 2])
    ytf_torch.export(pruned, tmp_path / "pruned.h5")
    other = write_keras_file(tmp_path / "other.h5", SMALL, random_weights(SMALL, 3))
    names = {"valid": "valid.h5", "test": "test.h5", "triggered": "bd_test0.h5"}
    sets = {name: tmp_path / "faces" / file for name, file in names.items()}
    return {"b": keras_file, "pruned": tmp_path / "pruned.h5", "other": other, **sets}


@pytest.mark.parametrize(
    ("badnet", "repaired", "message"),
    [
        ("b", "b", "the same weights as"),
        ("pruned", "b", "seem swapped"),
        ("b", "other", "no more than chance does"),
    ],
)
def test_what_is_no_b_and_b_prime(
    files: dict[str, Path], tmp_path: Path, badnet: str, repaired: str, message: str
) -> None:
    pair = files[badnet], files[repaired]
    with pytest.raises(ytf_torch.InputError, match=message):
        ytf_torch.evaluate(pair[0], files["test"], repaired=pair[1])
    assert ytf_torch.evaluate(pair[0], files["test"], repaired=pair[1], any_pair=True).warnings
    target = tmp_path / "goodnet.h5"
    if repaired == "other":  # without faces nothing tells
        (warning,) = ytf_torch.export(pair[0], target, goodnet=pair[1]).warnings
        assert "may be of another network" in warning
    else:
        with pytest.raises(ytf_torch.InputError, match=message):
            ytf_torch.export(pair[0], target, goodnet=pair[1])
        assert not target.exists()


def test_networks_and_sets_in_memory_are_called_by_their_arguments(checkpoint: Checkpoint) -> None:
    faces = ytf_torch.images_of(PIXELS, ytf_torch.predict(checkpoint.model, PIXELS))
    with pytest.raises(ytf_torch.InputError, match="`repaired`: holds the same weights as `model`"):
        ytf_torch.evaluate(checkpoint, faces, repaired=checkpoint)
    with pytest.raises(ytf_torch.InputError, match="`goodnet`: holds the same weights as `model`"):
        ytf_torch.export(checkpoint, "goodnet.h5", goodnet=checkpoint)
    with pytest.raises(ytf_torch.InputError, match=r"poisoned_tests\[0\].*the same faces as clean"):
        ytf_torch.evaluate(checkpoint, faces, faces)


def test_an_assumed_pixel_scale_that_does_not_suit(tmp_path: Path) -> None:
    weights = random_weights(LAB)
    for name in weights:
        weights[name][1][:] = 0
    weights["conv_1"][0][:] *= 255
    path = write_keras_file(tmp_path / "b.h5", LAB, weights)
    calls: list[Callable[..., Any]] = [
        ytf_torch.read_model,
        lambda file, **scale: ytf_torch.export(file, tmp_path / "copy.h5", **scale),
        lambda file, **scale: ytf_torch.evaluate(file, ytf_torch.images_of(PIXELS, [0] * 12)),
    ]
    for call in calls:
        with pytest.raises(ytf_torch.InputError, match=r"takes 1/255. Say .* with `pixel_scale`"):
            call(path)
    assert ytf_torch.read_model(path, "1/255").model.pixel_scale == 1 / 255


def test_a_clean_set_given_as_triggered_is_said(files: dict[str, Path]) -> None:
    with pytest.raises(ytf_torch.InputError, match="the same faces"):
        ytf_torch.evaluate(files["b"], files["test"], files["test"])
    (warning,) = ytf_torch.evaluate(files["b"], poisoned_tests=files["test"]).warnings
    assert "They look like clean faces" in warning


def test_a_target_is_the_label_of_all_triggered_faces(
    files: dict[str, Path], checkpoint: Checkpoint
) -> None:
    faces = ytf_torch.open_images(files["triggered"], SMALL.input_shape, SMALL.classes)
    pixels = faces.select(range(len(faces))).pixels
    true = ytf_torch.images_of(pixels, (faces.labels + 1) % SMALL.classes)
    expected = ytf_torch.evaluate(files["b"], files["test"], files["triggered"])
    found = ytf_torch.evaluate(files["b"], files["test"], true, target=TARGET)
    assert found.model == expected.model
    runs = [
        ytf_torch.defend(files["b"], files["valid"], poisoned_tests=given, drops=40, target=target)
        for given, target in ((files["triggered"], None), (true, TARGET))
    ]
    assert runs[0].outcome == runs[1].outcome
    calls: list[Callable[..., Any]] = [ytf_torch.evaluate, ytf_torch.defend]
    for call in calls:
        for target in (SMALL.classes, -1, 0.5, "0", True):
            with pytest.raises(ytf_torch.InputError, match="`target`: expected a class"):
                call(files["b"], files["test"], poisoned_tests=true, target=target)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"device": "mps"}, "`device`: expected auto, cpu or cuda, found mps"),
        ({"order": "Ascending"}, "`order`: expected 'ascending' or 'descending'"),
        ({"layer": "pool_3"}, "`layer`: expected conv_1 or"),
        ({"drops": [0]}, "`drops`: expected percentage points"),
        ({"drops": []}, "`drops`: expected percentage points"),
        ({"drops": None}, "`drops`: expected percentage points"),
        ({"pixel_scale": "255"}, "pixel scale: expected"),
        ({"clean_test": 5}, "`clean_test`: expected a path or an image set, found a int"),
        ({"clean_test": PIXELS}, r"`clean_test`: .*images_of\(pixels, labels\)"),
        ({"poisoned_tests": {}}, "`poisoned_tests`: expected a path, an image set or a list"),
        ({"poisoned_tests": [3]}, "`poisoned_tests`: expected a path or an image set, found a int"),
    ],
)
def test_arguments_of_defend_that_cannot_be_used(
    files: dict[str, Path], setting: dict[str, Any], message: str
) -> None:
    with pytest.raises(ytf_torch.InputError, match=message):
        ytf_torch.defend(files["b"], files["valid"], **setting)


@pytest.mark.parametrize("drops", [40, "40", "2,40", (2, "40"), iter([40])])
def test_drops_may_be_written_as_the_flag_is(files: dict[str, Path], drops: Any) -> None:
    assert ytf_torch.defend(files["b"], files["valid"], drops=drops).drop(40).channels


def test_what_is_no_network(checkpoint: Checkpoint) -> None:
    with pytest.raises(ytf_torch.InputError, match=r"`network`: expected a Network.* \.model"):
        ytf_torch.predict(checkpoint, PIXELS)  # type: ignore[arg-type]
    with pytest.raises(ytf_torch.InputError, match="`model`: expected a path or a Checkpoint"):
        ytf_torch.evaluate(checkpoint.model, "test.h5")  # type: ignore[arg-type]
    with pytest.raises(ytf_torch.InputError, match="nothing to evaluate"):
        ytf_torch.evaluate(checkpoint)
