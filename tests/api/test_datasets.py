"""Every function accepts PyTorch datasets and loaders in place of files, with the same result."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

import ytf_torch
from tests.made.small_run import small_sets
from ytf_torch.images.image_set import ImageSet
from ytf_torch.network.checkpoint import Checkpoint

Given = Mapping[str, Any]


def dataset(images: ImageSet) -> TensorDataset:
    """A dataset of images as ToTensor returns them."""
    batch = images.select(range(len(images)))
    return TensorDataset(batch.pixels.float() / 255, batch.labels)


def repaired(checkpoint: Checkpoint) -> Checkpoint:
    return ytf_torch.pruned_checkpoint(checkpoint, "conv_3", "pool_3", [0, 2])


def rates(found: ytf_torch.Evaluation) -> dict[str, Any]:
    return vars(found.model) | vars(found.goodnet or found.model)


def of_comparison(checkpoint: Checkpoint, given: Given) -> object:
    found = ytf_torch.compare(checkpoint, **given, methods="pruning")
    return [{**row.figures, "seconds": 0} for row in found.rows]


def of_evaluation(checkpoint: Checkpoint, given: Given) -> object:
    clean, triggered = given["clean_test"], given["poisoned_tests"]
    found = ytf_torch.evaluate(checkpoint, clean, triggered, true_labels=given["clean_valid"])
    return rates(found)


def of_detection(checkpoint: Checkpoint, given: Given) -> object:
    images = [given["clean_test"], *given["poisoned_tests"]]
    asked = {"detector": "goodnet", "clean_valid": given["clean_valid"]}
    found = ytf_torch.detect(checkpoint, repaired(checkpoint), images, **asked)
    return [answer.goodnet for answer in found.answers], found.threshold


CALLS: dict[str, Callable[[Checkpoint, Given], object]] = {
    "evaluate": of_evaluation,
    "repair": lambda b, given: rates(ytf_torch.repair(b, **given, method="pruning").evaluation),
    "compare": of_comparison,
    "scan": lambda b, given: (
        ytf_torch.scan(b, given["clean_valid"], methods="last-layer").suspicions
    ),
    "detect": of_detection,
    "defend": lambda b, given: ytf_torch.defend(b, **given, drops=[40]).steps(),
}


# An audit takes minutes, and opens its sets as a repair does.
@pytest.mark.parametrize("call", CALLS)
def test_a_dataset_and_a_loader_give_what_the_file_gives(
    call: str, checkpoint: Checkpoint, tmp_path: Path
) -> None:
    files = small_sets(tmp_path, checkpoint)
    assert files.clean_test is not None
    given: Given = {
        "clean_valid": files.clean_valid,
        "clean_test": files.clean_test,
        "poisoned_tests": list(files.poisoned_tests),
    }
    read: Given = {
        "clean_valid": dataset(files.clean_valid),
        "clean_test": DataLoader(dataset(files.clean_test), batch_size=5),
        "poisoned_tests": [dataset(one) for one in files.poisoned_tests],
    }
    assert CALLS[call](checkpoint, read) == CALLS[call](checkpoint, given)


def test_a_single_dataset_may_be_given_alone_for_several_sets(
    checkpoint: Checkpoint, tmp_path: Path
) -> None:
    sets = small_sets(tmp_path, checkpoint)
    (triggered,) = map(dataset, sets.poisoned_tests)
    found = ytf_torch.evaluate(checkpoint, dataset(sets.clean_valid), triggered)
    assert found.model.attack_success_rate is not None
    answers = ytf_torch.detect(checkpoint, repaired(checkpoint), triggered).answers
    assert len(answers) == len(triggered)


def test_a_set_is_named_by_its_argument(checkpoint: Checkpoint) -> None:
    small = TensorDataset(torch.zeros(4, 3, 8, 8), torch.zeros(4))
    with pytest.raises(
        ytf_torch.InputError, match=r"^clean_test, images in memory: expected images"
    ):
        ytf_torch.evaluate(checkpoint, small)
    normalised = TensorDataset(torch.randn(4, 3, 55, 47), torch.zeros(4))
    with pytest.raises(ytf_torch.InputError, match=r"^`clean_test`: expected pixel values"):
        ytf_torch.evaluate(checkpoint, normalised)
