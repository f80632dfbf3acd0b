from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.made.keras_files import SMALL, random_images
from tests.made.small_run import write_faces
from ytf_torch.defences.base import Candidate
from ytf_torch.defences.detectors.alarm import Alarm
from ytf_torch.defences.detectors.goodnet import Disagreement
from ytf_torch.defences.evaluation import Evaluation, evaluate, predictions
from ytf_torch.errors import InputError
from ytf_torch.faces.face_set import FaceSet
from ytf_torch.metrics import Share
from ytf_torch.network.checkpoint import Checkpoint
from ytf_torch.network.masking import bake_mask
from ytf_torch.network.module import Network

FACES, TARGET = 70, 3


def answers_of(network: torch.nn.Module, pixels: np.ndarray) -> np.ndarray:
    with torch.inference_mode():
        return network(torch.from_numpy(pixels)).argmax(1).numpy()


@pytest.fixture
def repaired(checkpoint: Checkpoint):
    return bake_mask(checkpoint.model, "conv_3", [0, 2, 5])


@pytest.fixture
def clean(tmp_path: Path):
    people = np.arange(FACES) % SMALL.classes
    return write_faces(tmp_path / "clean.h5", random_images(SMALL, FACES, seed=4), people)


def triggered_set(path: Path, height: int = 6):
    pixels = random_images(SMALL, FACES, seed=4)
    pixels[:, :, :height] = 250
    return pixels, write_faces(path, pixels, np.full(FACES, TARGET))


def test_every_figure_is_what_it_says(tmp_path: Path, checkpoint, repaired, clean) -> None:
    badnet = checkpoint.model
    pixels, triggered = triggered_set(tmp_path / "bd.h5")
    found = evaluate(badnet, clean, [triggered], repaired)

    people = clean.labels
    faces = clean.select(range(FACES)).pixels.numpy()
    ours, theirs = answers_of(badnet, faces), answers_of(repaired, faces)
    bd, bd_repaired = answers_of(badnet, pixels), answers_of(repaired, pixels)
    others = people != TARGET
    assert 0 < others.sum() < FACES

    def share(hits: np.ndarray) -> Share:
        return Share.of(int(hits.sum()), len(hits))

    assert found.model.clean_accuracy == share(ours == people)
    assert found.model.attack_success_rate == share(bd == TARGET)
    assert found.model.attack_success_rate_without_target == share(bd[others] == TARGET)
    assert found.model.robust_accuracy == share(bd == people)
    assert found.model.clean_target_rate == share(ours[others] == TARGET)
    assert found.model.false_positive_rate is found.model.true_positive_rate is None
    assert found.repaired is not None
    assert found.repaired.clean_accuracy == share(theirs == people)
    assert found.repaired.attack_success_rate == share(bd_repaired == TARGET)
    assert found.repaired.clean_target_rate == share(theirs[others] == TARGET)
    goodnet = found.goodnet
    assert goodnet is not None
    assert goodnet.clean_accuracy == share((ours == people) & (theirs == ours))
    fooled = (bd == TARGET) & (bd_repaired == TARGET)
    assert goodnet.attack_success_rate == share(fooled)
    assert goodnet.attack_success_rate_without_target == share(fooled[others])
    assert goodnet.robust_accuracy == share((bd == people) & (bd_repaired == bd))
    assert goodnet.false_positive_rate == share(ours != theirs)
    assert goodnet.true_positive_rate == share(bd != bd_repaired)


def test_alone_it_has_no_goodnet(checkpoint: Checkpoint, clean) -> None:
    found = evaluate(checkpoint.model, clean)
    assert found.repaired is found.goodnet is None
    assert found.model.attack_success_rate is None
    assert found.model.clean_accuracy is not None
    assert found.model.clean_accuracy.images == FACES


def test_clean_faces_that_get_the_target_are_of_the_validation_set_where_there_is_no_test_set(
    tmp_path: Path, checkpoint, clean
) -> None:
    _, triggered = triggered_set(tmp_path / "bd.h5")
    found = evaluate(checkpoint.model, None, [triggered], clean_valid=clean)
    answers = answers_of(checkpoint.model, clean.select(range(FACES)).pixels.numpy())
    hits = answers[clean.labels != TARGET] == TARGET
    assert found.model.clean_target_rate == Share.of(int(hits.sum()), len(hits))


def test_of_several_targets_each_is_looked_for_on_the_clean_face_of_its_triggered_one(
    tmp_path: Path, checkpoint, clean
) -> None:
    pixels, _ = triggered_set(tmp_path / "bd.h5")
    wanted = (clean.labels + 1) % SMALL.classes
    triggered = write_faces(tmp_path / "all.h5", pixels, wanted)
    found = evaluate(checkpoint.model, clean, [triggered])
    answers = answers_of(checkpoint.model, clean.select(range(FACES)).pixels.numpy())
    assert found.model.clean_target_rate == Share.of(int((answers == wanted).sum()), FACES)


def test_several_triggered_sets_are_counted_together_and_each_alone(
    tmp_path: Path, checkpoint, repaired, clean
) -> None:
    sets = [triggered_set(tmp_path / f"bd{height}.h5", height)[1] for height in (2, 20)]
    found = evaluate(checkpoint.model, clean, sets, repaired)
    alone = [evaluate(checkpoint.model, None, [faces], repaired, clean) for faces in sets]

    def counts(evaluation: Evaluation) -> np.ndarray:
        return np.array([[part.all.correct, part.all.flagged] for part in evaluation.triggered])

    assert (counts(found) == np.concatenate(list(map(counts, alone)))).all()
    share = found.model.attack_success_rate
    assert share == Share.of(int(counts(found)[:, 0, 0].sum()), 2 * FACES)
    for part, other in zip(found.triggered, alone, strict=True):
        mine = found.of_set(part).goodnet
        assert mine is not None
        # Without clean faces it is not known how many get the target by chance.
        assert replace(mine, clean_target_rate=None) == other.goodnet


def test_the_second_convention_needs_true_labels_of_every_set(
    tmp_path: Path, checkpoint: Checkpoint, clean
) -> None:
    _, same = triggered_set(tmp_path / "same.h5")
    other_photos = random_images(SMALL, FACES, seed=9)
    other = write_faces(tmp_path / "other.h5", other_photos, np.full(FACES, TARGET))
    found = evaluate(checkpoint.model, clean, [same, other])
    assert found.model.attack_success_rate_without_target is None
    assert [part.without_target is None for part in found.triggered] == [False, True]
    named = evaluate(checkpoint.model, None, [same, other], known_labels=clean)
    assert named.model.attack_success_rate_without_target is None


@pytest.mark.parametrize(
    ("order", "share"),
    [(np.arange(FACES)[::-1], 1.0), (np.arange(10, FACES), 60 / 70), (np.arange(5, 30), 25 / 70)],
    ids=["another order", "a part", "too few"],
)
def test_named_labels_are_found_by_the_pictures(
    tmp_path: Path, checkpoint: Checkpoint, clean, order: np.ndarray, share: float
) -> None:
    pixels, triggered = triggered_set(tmp_path / "bd.h5")
    faces = clean.select(range(FACES)).pixels.numpy()
    known = write_faces(tmp_path / "known.h5", faces[order], clean.labels[order])
    found = evaluate(checkpoint.model, None, [triggered], known_labels=known)
    assert found.pairing is not None
    assert found.pairing.record == {"paired": round(share * FACES), "triggered": FACES}
    answers, paired = answers_of(checkpoint.model, pixels), np.isin(np.arange(FACES), order)
    right = Share.of(int((answers == clean.labels)[paired].sum()), int(paired.sum()))
    fooled = (answers == TARGET)[paired & (clean.labels != TARGET)]
    if share < 0.5:
        assert found.model.robust_accuracy is None
        assert found.model.attack_success_rate_without_target is None
    else:
        assert found.model.robust_accuracy == right
        without = found.model.attack_success_rate_without_target
        assert without == Share.of(int(fooled.sum()), len(fooled))


def test_labels_that_are_the_target_s_say_nothing(tmp_path: Path, checkpoint: Checkpoint) -> None:
    _, triggered = triggered_set(tmp_path / "bd.h5")
    with pytest.raises(InputError, match=r"really on the faces.*the attacker's target for each"):
        evaluate(checkpoint.model, None, [triggered], known_labels=triggered)


def test_answers_do_not_depend_on_what_comes_with_a_face(checkpoint: Checkpoint, clean) -> None:
    everything = predictions([checkpoint.model], clean)
    assert everything.shape == (1, FACES)
    part = predictions([checkpoint.model], clean.part(10, 13))
    assert torch.equal(part, everything[:, 10:13])


class Brightness:
    """A detector that finds bright faces suspicious."""

    def scores(
        self, network: Network, candidate: Candidate | None, pixels: torch.Tensor
    ) -> torch.Tensor:
        return pixels.float().mean((1, 2, 3))


def test_a_network_behind_detectors(
    tmp_path: Path, checkpoint: Checkpoint, repaired: Network, clean: FaceSet
) -> None:
    pixels, triggered = triggered_set(tmp_path / "bd.h5", height=20)
    faces = clean.select(range(FACES)).pixels.numpy()
    dark, bright = (images.astype(np.float32).mean((1, 2, 3)) for images in (faces, pixels))
    threshold = float(np.median(bright))
    alarms = {
        "goodnet": Alarm(Disagreement(), 0.0),
        "brightness": Alarm(Brightness(), threshold),
    }
    found = evaluate(checkpoint.model, clean, [triggered], repaired, alarms=alarms)
    assert found.goodnet == found.detector("goodnet")

    behind = found.detector("brightness")
    fooled = answers_of(checkpoint.model, pixels) == TARGET
    right = answers_of(checkpoint.model, faces) == clean.labels
    assert 0 < (bright > threshold).sum() < FACES
    assert behind.true_positive_rate == Share.of(int((bright > threshold).sum()), FACES)
    assert behind.false_positive_rate == Share.of(int((dark > threshold).sum()), FACES)
    assert behind.clean_accuracy == Share.of(int((right & (dark <= threshold)).sum()), FACES)
    left = int((fooled & (bright <= threshold)).sum())
    assert behind.attack_success_rate == Share.of(left, FACES)


def test_the_validation_set_is_counted_where_it_is_asked_for(
    checkpoint: Checkpoint, repaired: Network, clean: FaceSet
) -> None:
    found = evaluate(checkpoint.model, None, (), repaired, clean_valid=clean)
    other = evaluate(checkpoint.model, clean, (), repaired)
    assert found.model.clean_valid_accuracy == other.model.clean_accuracy
    assert found.goodnet is not None
    assert other.goodnet is not None
    assert found.goodnet.clean_valid_accuracy == other.goodnet.clean_accuracy
