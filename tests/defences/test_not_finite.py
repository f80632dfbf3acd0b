"""Logits that are NaN or infinite: no class, never right, always flagged, counted and said."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner, Result

import ytf_torch
from tests.made.badnet import MadeBadNet
from tests.made.keras_files import SMALL, random_images, write_faces
from tests.made.overflowing import overflowing, overflowing_on_white
from tests.made.small_run import IMAGES, small_sets
from ytf_torch.commands import detect, evaluate, prune, repair, scan
from ytf_torch.commands.terminal import App
from ytf_torch.defences.base import Candidate
from ytf_torch.defences.detectors.alarm import calibrated, scores_of
from ytf_torch.defences.methods import DETECTORS
from ytf_torch.defences.repairs.pruning import pruned_checkpoint
from ytf_torch.images.image_set import ImageSet
from ytf_torch.network.checkpoint import Checkpoint, save_checkpoint
from ytf_torch.progress import untracked

COUNTED = {"poisoned_test": IMAGES}
# Detectors that compute B alone.
OF_B_ALONE = {"strip", "scale-up", "ibd-psc", "ted"}


def run(app: App, *words: object) -> Result:
    return CliRunner().invoke(app, list(map(str, words)))


@pytest.fixture
def files(tmp_path: Path, checkpoint: Checkpoint) -> dict[str, Path]:
    """B, whose logits are NaN on the triggered faces alone, a B′ of the same kind, and faces."""
    made = overflowing(checkpoint)
    sets = small_sets(tmp_path, made)
    paths = {"model": tmp_path / "b.safetensors", "repaired": tmp_path / "r.safetensors"}
    save_checkpoint(made, paths["model"])
    save_checkpoint(pruned_checkpoint(made, "conv_3", "pool_3", [1]), paths["repaired"])
    assert sets.clean_test is not None
    return paths | {
        "valid": sets.clean_valid.path,
        "test": sets.clean_test.path,
        "triggered": sets.poisoned_tests[0].path,
    }


@pytest.mark.parametrize("name", DETECTORS)
@pytest.mark.parametrize("broken", ["B", "B′", "both"])
def test_every_detector_flags_a_face_without_finite_logits_and_no_other(
    badnet: MadeBadNet, clean_valid: ImageSet, name: str, broken: str
) -> None:
    if name in OF_B_ALONE and broken == "B′":
        pytest.skip("it computes B alone")
    sound, overflows = badnet.network, overflowing_on_white(badnet.network)
    network = sound if broken == "B′" else overflows
    candidate = Candidate("b", sound if broken == "B" else overflows, ())
    detector = DETECTORS[name](network, clean_valid, 0, untracked)
    alarm = calibrated(detector, network, candidate, clean_valid)
    triggered = alarm.flags(network, candidate, badnet.triggered)
    assert triggered.all()
    assert alarm.threshold < torch.inf
    assert not alarm.flags(network, candidate, badnet.clean).all()
    if name != "strip":  # which lays faces over each other, and makes them white
        assert scores_of(detector, network, candidate, clean_valid).isfinite().all()


def test_a_few_such_clean_faces_hide_no_threshold(
    badnet: MadeBadNet, clean_valid: ImageSet
) -> None:
    """They are above it, however many they are; the others are judged as without them."""
    network = overflowing_on_white(badnet.network)
    mixed = torch.cat([badnet.clean, badnet.triggered[:20]]).numpy()
    labels = torch.cat([badnet.people, badnet.people[:20]]).numpy()
    path = write_faces(clean_valid.path.with_name("mixed.h5"), mixed, labels)
    faces = ytf_torch.open_images(path, network.input_shape, network.classes)
    candidate = Candidate("b", badnet.sound, ())
    for name in ("energy-and-dissent", "goodnet"):
        alarm = calibrated(DETECTORS[name](network, faces, 0, untracked), network, candidate, faces)
        assert alarm.flags(network, candidate, badnet.triggered[:20]).all()
        assert not alarm.flags(network, candidate, badnet.clean).any()


@pytest.mark.parametrize("detector", [[], ["--detector", "recommended", "--clean-valid", "valid"]])
def test_ytf_detect_flags_and_says_it(files: dict[str, Path], detector: list[str]) -> None:
    words = [files.get(word, word) for word in detector]
    pair = ("--model", files["model"], "--repaired", files["repaired"])
    done = run(detect.app, *pair, *words, "--json", files["triggered"])
    assert done.exit_code == 0, done.output
    answers = list(map(json.loads, done.stdout.splitlines()))
    assert all(answer["backdoored"] and answer["goodnet"] == SMALL.classes for answer in answers)
    assert {answer["badnet"] for answer in answers} == {None}
    assert all(answer["not_finite"] for answer in answers)
    assert f"NaN or infinite on {IMAGES} of {IMAGES} faces, which are flagged" in done.stderr


def test_ytf_evaluate_counts_and_says_it(files: dict[str, Path], tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    sets = ("--clean-test", files["test"], "--poisoned-test", files["triggered"])
    pair = (files["model"], "--repaired", files["repaired"])
    done = run(evaluate.app, *pair, *sets, "--json", report)
    assert done.exit_code == 0, done.output
    record = json.loads(report.read_text())
    assert record["not_finite"] == record["repaired"]["not_finite"] == COUNTED
    assert record["attack_success_rate"] == record["robust_accuracy"] == 0
    assert record["goodnet"]["true_positive_rate"] == 100
    assert f"The logits of B are NaN or infinite on {IMAGES} of the {IMAGES} triggered" in (
        " ".join(record["warnings"])
    )
    sound = run(evaluate.app, files["model"], "--clean-test", files["test"], "--json", report)
    assert sound.exit_code == 0, sound.output
    assert "not_finite" not in json.loads(report.read_text())


@pytest.mark.parametrize("engine", ["fast", "plain"])
def test_ytf_prune_counts_and_says_it(files: dict[str, Path], tmp_path: Path, engine: str) -> None:
    sets = ("--clean-valid", files["valid"], "--poisoned-test", files["triggered"])
    words = ("--model", files["model"], *sets, "--drops", 40, "--engine", engine)
    done = run(prune.app, *words, "--out", tmp_path / "out")
    assert done.exit_code == 0, done.output
    record = json.loads((tmp_path / "out" / "result.json").read_text())
    assert record["baseline"]["not_finite"] == COUNTED
    assert record["drops"]["40"]["goodnet"]["true_positive_rate"] == 100
    assert any("logits of B are NaN" in warning for warning in record["warnings"])
    assert "no class: NaN or infinite" in (tmp_path / "out" / "report.html").read_text()


def test_predict_answers_no_class_and_goodnet_its_own(checkpoint: Checkpoint) -> None:
    made = overflowing(checkpoint).model
    faces = random_images(SMALL, 6)
    faces[3:, :, 10:20] = 255
    other = ytf_torch.bake_mask(made, "conv_3", [1])
    assert (ytf_torch.predict(made, faces)[3:] == -1).all()
    assert (ytf_torch.predict(made, faces)[:3] >= 0).all()
    goodnet = ytf_torch.predict(ytf_torch.GoodNet(made, other), faces)
    assert (goodnet[3:] == SMALL.classes).all()


def broken(checkpoint: Checkpoint, how: str) -> Checkpoint:
    model = ytf_torch.deepid(SMALL, 1.0).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_({"overflow": 1e30, "zero": 0.0}[how])
    return Checkpoint(model, checkpoint.provenance)


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("overflow", "its logits are NaN or infinite on every image"),
        ("zero", "it answers every image alike"),
    ],
)
@pytest.mark.parametrize("command", ["prune", "repair", "scan", "compare"])
def test_a_network_without_answers_is_refused_before_anything_is_computed(
    tmp_path: Path, checkpoint: Checkpoint, command: str, how: str, said: str
) -> None:
    from ytf_torch.commands import compare

    apps = {"prune": prune.app, "repair": repair.app, "scan": scan.app, "compare": compare.app}
    save_checkpoint(broken(checkpoint, how), tmp_path / "b.safetensors")
    faces = write_faces(tmp_path / "v.h5", random_images(SMALL, 40), [0] * 40)
    words = ("--model", tmp_path / "b.safetensors", "--clean-valid", faces)
    done = run(apps[command], *words, "--out", tmp_path / "out")
    assert (done.exit_code, done.stdout) == (2, "")
    assert said in done.stderr
    assert done.stderr.strip().count("\n") == 0
    assert not (tmp_path / "out").exists()
