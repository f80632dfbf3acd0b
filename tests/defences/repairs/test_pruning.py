from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from tests.made.small_run import small_sets
from ytf_torch.defences.repairs.pruning import Pruning, run_defence
from ytf_torch.errors import CannotRepairError, InputError
from ytf_torch.faces.face_set import FaceSet, FaceSets
from ytf_torch.network.checkpoint import Checkpoint
from ytf_torch.network.masking import bake_mask
from ytf_torch.network.module import Network
from ytf_torch.progress import Track, untracked


@pytest.fixture
def sets(tmp_path: Path, checkpoint: Checkpoint) -> FaceSets:
    return small_sets(tmp_path / "faces", checkpoint)


class LastFirst:
    """A ranking that lets the last channel go first."""

    def scores(
        self, network: Network, layer: str, clean_valid: FaceSet, track: Track
    ) -> Sequence[float]:
        return [-channel for channel in range(network.convolution(layer).out_channels)]


def test_a_network_without_the_layer_is_refused_by_name(
    checkpoint: Checkpoint, sets: FaceSets
) -> None:
    repair = Pruning(layer="conv_9")
    with pytest.raises(CannotRepairError, match=r"expected conv_1 or conv_2 .*found conv_9"):
        list(repair.candidates(checkpoint.model, sets.clean_valid, untracked))


def test_a_candidate_for_each_drop_that_is_reached_mildest_first(
    checkpoint: Checkpoint, sets: FaceSets
) -> None:
    repair = Pruning(drops=("40", "100", "2"))
    found = list(repair.candidates(checkpoint.model, sets.clean_valid, untracked))
    defence = run_defence(checkpoint, sets, ["2", "40", "100"])
    assert [candidate.name for candidate in found] == ["drop2", "drop40"]
    for candidate, drop in zip(found, ("2", "40"), strict=True):
        expected = bake_mask(checkpoint.model, "conv_3", defence.channels_of(drop)).state_dict()
        for name, tensor in candidate.network.state_dict().items():
            assert torch.equal(tensor, expected[name])
        (done,) = candidate.history
        assert (
            done
            == f"pruned {defence.drops[drop]} of 6 channels of conv_3, at a drop of {drop} points"
        )


def test_another_ranking_decides_the_order(checkpoint: Checkpoint, sets: FaceSets) -> None:
    (candidate,) = Pruning(drops=("2",), ranking=LastFirst()).candidates(
        checkpoint.model, sets.clean_valid, untracked
    )
    weight = candidate.network.convolution("conv_3").weight
    gone = [channel for channel in range(6) if not weight[channel].any()]
    assert gone == list(range(gone[0], 6))


def test_what_is_no_drop_is_refused(checkpoint: Checkpoint, sets: FaceSets) -> None:
    with pytest.raises(InputError, match="percentage points of accuracy above 0"):
        list(Pruning(drops=("0",)).candidates(checkpoint.model, sets.clean_valid, untracked))


def test_the_outcome_has_the_counts_of_each_drop(checkpoint: Checkpoint, sets: FaceSets) -> None:
    defence = run_defence(checkpoint, sets, ["2", "100"])
    outcome = defence.outcome
    step = defence.drops["2"]
    assert step is not None
    assert (outcome.method, list(outcome.candidates)) == ("pruning", ["2", "100"])
    assert outcome.candidates["100"] is None
    found = outcome.candidates["2"]
    assert found is not None
    assert found.repaired is not None
    assert found.goodnet is not None
    assert found.model == outcome.baseline.model
    assert defence.poisoned_test is not None
    attack, valid = defence.poisoned_test.at(step), defence.clean_valid.at(step)
    assert found.repaired.attack_success_rate == attack.correct
    assert found.repaired.clean_valid_accuracy == valid.correct
    assert found.goodnet.true_positive_rate == attack.flagged
    assert outcome.baseline.model.attack_success_rate == defence.poisoned_test.at(0).correct
