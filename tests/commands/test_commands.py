"""The commands from the command line: exit status, output, and files left on disk."""

from __future__ import annotations

import html
import json
import os
import sys
from collections import Counter
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from typer.testing import CliRunner, Result

from tests.conftest import ROOT
from tests.made.keras_files import SMALL, random_images, write_faces
from ytf_torch.commands.convert import app as convert_app
from ytf_torch.commands.detect import app as detect_app
from ytf_torch.commands.prune import app as prune_app
from ytf_torch.defences.repairs.pruning import pruned_checkpoint
from ytf_torch.network.checkpoint import Checkpoint, load_checkpoint, save_checkpoint

GOLDEN = ROOT / "tests" / "golden"
PERCENT_KEYS = ("clean_valid_accuracy", "clean_test_accuracy", "attack_success_rate")


def run(app, *arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def assert_one_clear_line(result: Result, *parts: object) -> None:
    """Exit status 2 and one line on standard error, which contains every part."""
    assert result.exit_code == 2, result.output
    line = result.stderr.strip()
    assert line.startswith("error: ")
    assert "\n" not in line
    for part in parts:
        assert str(part) in line


def write_reference(path: Path, **changes: object) -> Path:
    logits = np.load(GOLDEN / "small.npz")["logits"]
    arrays = {"input": random_images(SMALL, 8), "logits": logits, "pixel_scale": 1.0}
    np.savez(path, **(arrays | changes))
    return path


@pytest.fixture
def faces(tmp_path: Path, checkpoint: Checkpoint) -> dict[str, Path]:
    """valid, test and bd_test, labelled with the network's own predictions: 100 % each."""
    found = {}
    for seed, name in enumerate(("valid", "test", "bd_test"), start=1):
        images = random_images(SMALL, 70, seed)
        with torch.inference_mode():
            labels = checkpoint.model(torch.from_numpy(images)).argmax(1).numpy()
        found[name] = write_faces(tmp_path / f"{name}.h5", images.astype(np.float64), labels)
    return found


def prune(model: Path, faces: dict[str, Path], out: Path, *more: object) -> Result:
    sets: list[str | Path] = ["--clean-valid", faces["valid"], "--clean-test", faces["test"]]
    sets += ["--poisoned-test", faces["bd_test"]]
    return run(prune_app, "--model", model, *sets, "--out", out, "--device", "cpu", *more)


class TestConvert:
    def test_writes_a_model_beside_its_source(self, keras_file: Path) -> None:
        result = run(convert_app, keras_file)
        assert result.exit_code == 0
        assert "conv_2.weight" in result.output
        assert "2.14.0" in result.output
        assert "assumed: raw pixels" in result.output
        found = load_checkpoint(keras_file.with_suffix(".safetensors"))
        assert found.provenance.source_sha256 in result.output

    def test_parity_held(self, tmp_path: Path, keras_file: Path) -> None:
        reference = write_reference(tmp_path / "reference.npz")
        target, report = tmp_path / "net.safetensors", tmp_path / "report.json"
        result = run(
            convert_app, keras_file, "-o", target, "--reference", reference, "--json", report
        )
        assert result.exit_code == 0, result.output
        assert "parity held" in result.output
        record = json.loads(report.read_text())
        assert record["parity"][str(reference)]["held"] is True
        assert record["output"] == str(target)
        assert record["model"]["pixel_scale"] == 1.0

    def test_parity_failed_leaves_no_output(self, tmp_path: Path, keras_file: Path) -> None:
        logits = np.load(GOLDEN / "small.npz")["logits"]
        reference = write_reference(tmp_path / "reference.npz", logits=logits + 0.1)
        target = tmp_path / "net.safetensors"
        result = run(convert_app, keras_file, "-o", target, "--reference", reference)
        assert result.exit_code == 1
        assert "PARITY FAILED" in result.output
        assert not target.exists()

    def test_the_reference_decides_the_pixel_scale(self, tmp_path: Path, keras_file: Path) -> None:
        reference = write_reference(tmp_path / "reference.npz")
        clash = run(convert_app, keras_file, "--reference", reference, "--pixel-scale", "1/255")
        assert_one_clear_line(clash, "pixel_scale", "expected 0.00392157")
        assert not keras_file.with_suffix(".safetensors").exists()

    def test_it_says_that_nothing_was_compared(self, keras_file: Path) -> None:
        result = run(convert_app, keras_file)
        assert "not compared with Keras: --reference or --against-keras does that" in result.stdout

    def test_help_has_no_line_breaks_but_the_terminals(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("COLUMNS", "200")
        monkeypatch.setenv("TERMINAL_WIDTH", "200")
        shown = run(convert_app, "--help").stdout
        assert "1 parity failed, no output left; 2 bad input." in shown

    @pytest.mark.real_keras
    def test_against_keras(self, keras_file: Path) -> None:
        """By Keras 2 in a process that imports it for this file."""
        result = run(convert_app, keras_file, "--pixel-scale", "1/255", "--against-keras")
        assert result.exit_code == 0, result.output
        assert "parity held against real Keras" in result.output

    @pytest.mark.parametrize(
        ("options", "parts"),
        [
            (["--pixel-scale", "0"], ["1 or 1/255"]),
            (["--reference", "none.npz"], ["none.npz", "no such file"]),
            (["-o", "no/such/folder/net.safetensors"], ["cannot be written"]),
            (["-o", "-"], ["expected the name of a file, found -"]),
            (["--json", "-"], ["expected the name of a file, found -"]),
            (["--json", "."], ["expected a file to write, found a folder"]),
            (["-o", "."], ["expected a file to write, found a folder"]),
            (["-o", "net.pt"], ["net.pt", "a name that ends in .safetensors", "found .pt"]),
            (["--pixel-scale", "255"], ["found 255", "divided by 255 has 1/255"]),
        ],
    )
    def test_bad_options(self, keras_file: Path, options: list[str], parts: list[str]) -> None:
        before = set(keras_file.parent.iterdir())
        assert_one_clear_line(run(convert_app, keras_file, *options), *parts)
        assert set(keras_file.parent.iterdir()) == before

    @pytest.mark.parametrize("name", [".", "/", "..", "n" * 300])
    def test_a_source_that_cannot_be_one(self, name: str) -> None:
        assert_one_clear_line(run(convert_app, name))

    def test_a_source_whose_name_leaves_no_room_for_an_ending(self, keras_file: Path) -> None:
        source = keras_file.rename(keras_file.with_name("n" * 249 + ".h5"))
        assert_one_clear_line(run(convert_app, source), "File name too long")
        assert run(convert_app, source, "-o", source.with_name("net.safetensors")).exit_code == 0

    def test_no_report_tells_of_a_model_that_was_never_written(
        self, tmp_path: Path, keras_file: Path
    ) -> None:
        report = tmp_path / "report.json"
        target = tmp_path / "no" / "net.safetensors"
        result = run(convert_app, keras_file, "-o", target, "--json", report)
        assert_one_clear_line(result, target, "cannot be written")
        assert not report.exists()

    @pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such pipes")
    @pytest.mark.parametrize("option", ["-o", "--json"])
    def test_a_pipe_is_not_replaced(self, tmp_path: Path, keras_file: Path, option: str) -> None:
        os.mkfifo(tmp_path / "pipe")
        result = run(convert_app, keras_file, option, tmp_path / "pipe")
        assert_one_clear_line(result, "pipe: expected a file to write, found a pipe")
        assert (tmp_path / "pipe").is_fifo()
        assert not keras_file.with_suffix(".safetensors").exists()

    def test_parity_failed_removes_an_earlier_conversion_and_nothing_else(
        self, tmp_path: Path, keras_file: Path
    ) -> None:
        logits = np.load(GOLDEN / "small.npz")["logits"]
        reference = write_reference(tmp_path / "reference.npz", logits=logits + 0.1)
        target = keras_file.with_suffix(".safetensors")
        run(convert_app, keras_file)
        assert run(convert_app, keras_file, "--reference", reference).exit_code == 1
        assert not target.exists()
        save_file({"weight": torch.zeros(3)}, target)
        precious = target.read_bytes()
        assert run(convert_app, keras_file, "--reference", reference).exit_code == 1
        assert target.read_bytes() == precious

    def test_the_source_is_never_overwritten(self, keras_file: Path) -> None:
        before = keras_file.read_bytes()
        assert_one_clear_line(run(convert_app, keras_file, "-o", keras_file), "given twice")
        assert keras_file.read_bytes() == before


class TestPrune:
    @pytest.fixture
    def finished(self, tmp_path: Path, keras_file: Path, faces: dict[str, Path]) -> Path:
        result = prune(keras_file, faces, tmp_path / "run")
        assert result.exit_code == 0, result.output
        assert "BadNet B" in result.output
        return tmp_path / "run"

    def test_the_run_folder_is_as_promised(self, finished: Path) -> None:
        result = json.loads((finished / "result.json").read_text())
        names = {"result.json", "trace.csv", "sweep.png", "report.html"}
        names |= {drop["file"] for drop in result["drops"].values() if drop}
        assert names <= {path.name for path in finished.iterdir()}
        assert result["counts"] == {"clean_valid": 70, "clean_test": 70, "poisoned_test": 70}
        assert result["baseline"] == dict.fromkeys(PERCENT_KEYS, 100.0)
        assert (result["layer"], result["rank_at"]) == ("conv_3", "pool_3")
        assert (result["pixel_scale"], result["device"]) == (1.0, "cpu")
        assert [step["pruned"] for step in result["steps"]] == [1, 2, 3, 4, 5, 6]
        assert [step["channel"] for step in result["steps"]] == result["order"]
        assert sorted(result["mean_activation"]) == [
            result["mean_activation"][channel] for channel in result["order"]
        ]

    def test_each_kept_model_has_the_figures_on_record(
        self, finished: Path, faces: dict[str, Path]
    ) -> None:
        result = json.loads((finished / "result.json").read_text())
        assert set(result["drops"]) == {"2", "4", "10"}
        for drop, found in result["drops"].items():
            assert found["file"] == f"pruned_drop{drop}.safetensors"
            kept = load_checkpoint(finished / found["file"])
            assert kept.provenance.mask is not None
            assert list(kept.provenance.mask.channels) == found["channels"]
            assert found["channels"] == result["order"][: found["channels_pruned"]]
            with h5py.File(faces["test"]) as file, torch.inference_mode():
                answers = kept.model(torch.from_numpy(file["data"][:])).argmax(1).numpy()
                right = int((answers == file["label"][:]).sum())
            assert found["repaired"]["clean_test_accuracy"] == 100 * right / 70
            assert found["goodnet"]["false_positive_rate"] == pytest.approx(100 - 100 * right / 70)

    def test_the_trace_has_a_row_for_each_step(self, finished: Path) -> None:
        rows = (finished / "trace.csv").read_text().splitlines()
        assert rows[0].startswith("pruned,channel,mean_activation,clean_valid_accuracy")
        assert [row.split(",")[0] for row in rows[1:]] == [str(step) for step in range(7)]

    def test_only_the_clean_validation_set_is_needed(
        self, tmp_path: Path, keras_file: Path, faces: dict[str, Path]
    ) -> None:
        out = tmp_path / "run"
        result = run(
            prune_app, "--model", keras_file, "--clean-valid", faces["valid"], "--out", out
        )
        assert result.exit_code == 0, result.output
        record = json.loads((out / "result.json").read_text())
        assert "Nothing can be said about the attack" in result.output
        assert "validation" in result.output
        assert "TPR │" not in result.output
        assert record["verdict"]["kind"] == "unknown"
        assert record["counts"]["poisoned_test"] is None
        assert record["baseline"]["attack_success_rate"] is None

    def test_mixed_up_sets_are_said_in_the_terminal_the_report_and_the_record(
        self, tmp_path: Path, keras_file: Path, faces: dict[str, Path]
    ) -> None:
        """bd_test is labelled with the network's own predictions, as a clean set is."""
        out = tmp_path / "run"
        result = prune(keras_file, faces, out)
        assert result.exit_code == 0
        record = json.loads((out / "result.json").read_text())
        warning = record["warnings"][0]
        headline = record["verdict"]["headline"]
        assert record["verdict"]["kind"] == "doubtful"
        assert warning.startswith(headline)
        assert "B answers 100.0 % of them with their label" in headline
        lines = result.output.splitlines()
        assert f"Warning: {warning}" in lines
        assert headline in lines
        assert lines.index(f"Warning: {warning}") < lines.index(headline)
        page = html.unescape((out / "report.html").read_text())
        assert headline.replace(" %", "\xa0%") in page[page.index("<h1") : page.index("</h1>")]

    def test_a_set_given_twice_is_refused(
        self, tmp_path: Path, keras_file: Path, faces: dict[str, Path]
    ) -> None:
        again = prune(keras_file, faces, tmp_path / "run", "--poisoned-test", faces["bd_test"])
        assert_one_clear_line(again, faces["bd_test"], "the same faces", "Leave one of them out")
        assert not (tmp_path / "run").exists()

    def test_a_stated_target_is_taken_for_the_triggered_faces_labels(
        self, tmp_path: Path, keras_file: Path, faces: dict[str, Path]
    ) -> None:
        with h5py.File(faces["bd_test"]) as file:
            labels = file["label"][:]
        target, out = int(labels[0]), tmp_path / "run"
        assert prune(keras_file, faces, out, "--target", target).exit_code == 0
        record = json.loads((out / "result.json").read_text())
        share = 100 * float((labels == target).mean())
        assert record["baseline"]["attack_success_rate"] == pytest.approx(share)
        assert f"target = {target}" in (out / "settings.toml").read_text()
        refused = prune(keras_file, faces, tmp_path / "other", "--target", SMALL.classes)
        assert_one_clear_line(refused, "--target", "a class of 0…6", "found 7")

    def test_a_drop_that_is_never_reached_is_null(
        self, tmp_path: Path, keras_file: Path, faces: dict[str, Path]
    ) -> None:
        assert prune(keras_file, faces, tmp_path / "run", "--drops", "100").exit_code == 0
        assert json.loads((tmp_path / "run/result.json").read_text())["drops"] == {"100": None}

    def test_a_converted_model_and_its_keras_file_give_one_result(
        self, tmp_path: Path, keras_file: Path, faces: dict[str, Path], finished: Path
    ) -> None:
        run(convert_app, keras_file)
        converted = keras_file.with_suffix(".safetensors")
        assert prune(converted, faces, tmp_path / "again").exit_code == 0
        for path in finished.iterdir():
            if path.suffix in (".json", ".csv", ".safetensors") and path.name != "run.json":
                assert (tmp_path / "again" / path.name).read_bytes() == path.read_bytes()

    def test_a_finished_run_is_not_overwritten(
        self, keras_file: Path, faces: dict[str, Path], finished: Path
    ) -> None:
        before = (finished / "result.json").read_bytes()
        assert_one_clear_line(prune(keras_file, faces, finished), finished, "finished run")
        assert (finished / "result.json").read_bytes() == before

    def test_a_run_does_not_take_the_place_of_its_inputs(
        self, keras_file: Path, faces: dict[str, Path], finished: Path
    ) -> None:
        before = {path.name: path.read_bytes() for path in finished.iterdir()}
        model = next(finished.glob("*.safetensors"))
        result = prune(model, faces, finished, "--overwrite")
        assert_one_clear_line(result, model, "lies in", "Choose another --out")
        result = run(prune_app, "--config", finished / "settings.toml", "--out", finished)
        assert_one_clear_line(result, "settings.toml", "lies in", "Choose another --out")
        work = finished.with_name("again.partial")
        work.mkdir()
        inside = keras_file.rename(work / "net.h5")
        assert_one_clear_line(prune(inside, faces, work.with_name("again")), "net.h5: lies in")
        assert inside.exists()
        assert {path.name: path.read_bytes() for path in finished.iterdir()} == before

    @pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has CUDA")
    @pytest.mark.slow
    def test_engine_and_precision_change_no_clear_answer_and_no_model(
        self, tmp_path: Path, keras_file: Path, faces: dict[str, Path], finished: Path
    ) -> None:
        for number, options in enumerate(
            [["--engine", "plain"], ["--precision", "float64"], ["--precision", "float32"]]
        ):
            folder = tmp_path / f"again{number}"
            assert prune(keras_file, faces, folder, *options).exit_code == 0
            names = ["result.json"] if "float64" not in options else []
            for name in [*names, *(path.name for path in finished.glob("*.safetensors"))]:
                assert (folder / name).read_bytes() == (finished / name).read_bytes()
            record, expected = (
                json.loads((f / "result.json").read_text()) for f in (folder, finished)
            )
            assert record["order"] == expected["order"]
            assert record["steps"] == expected["steps"]

    def test_cuda_where_there_is_none(
        self, tmp_path: Path, keras_file: Path, faces: dict[str, Path]
    ) -> None:
        result = prune(keras_file, faces, tmp_path / "run", "--device", "cuda")
        assert_one_clear_line(result, "no CUDA device", "--device cpu")

    @pytest.mark.parametrize(
        ("damage", "part"),
        [
            (lambda f: f.__delitem__("label"), "found data"),
            (lambda f: f.__delitem__("data"), "found label"),
            (lambda f: f["label"].__setitem__(3, 7), "label[3]"),
            (lambda f: f["data"].__setitem__((69, 0, 0, 0), np.nan), "NaN"),
            (lambda f: f["data"].__setitem__(..., f["data"][:] / 255), "divided by 255"),
        ],
    )
    @pytest.mark.parametrize("name", ["valid", "test", "bd_test"])
    def test_bad_faces_leave_nothing_but_what_was_done_before(
        self, tmp_path: Path, keras_file: Path, faces: dict[str, Path], name: str, damage, part: str
    ) -> None:
        with h5py.File(faces[name], "r+") as file:
            damage(file)
        before = set(tmp_path.iterdir())
        done = prune(keras_file, faces, tmp_path / "run")
        assert_one_clear_line(done, faces[name], part)
        # A pixel that is no number is met when all clean validation faces are ranked.
        kept = {tmp_path / "run.partial"} if name != "valid" and part == "NaN" else set()
        assert set(tmp_path.iterdir()) - before == kept
        assert ("Finished pieces stay in" in done.stderr) == bool(kept)

    def test_a_missing_model_is_named(self, tmp_path: Path, faces: dict[str, Path]) -> None:
        result = prune(tmp_path / "none.h5", faces, tmp_path / "run")
        assert_one_clear_line(result, "none.h5", "no such file")

    def test_a_wrong_pixel_scale_is_noticed(
        self, tmp_path: Path, keras_file: Path, faces: dict[str, Path]
    ) -> None:
        result = prune(keras_file, faces, tmp_path / "run", "--pixel-scale", "1/255")
        assert_one_clear_line(result, "clean accuracy", "--pixel-scale 1")
        assert "--resume" not in result.stderr
        assert prune(keras_file, faces, tmp_path / "run", "--pixel-scale", "1").exit_code == 0


class TestDetect:
    def test_one_line_for_each_face(
        self, tmp_path: Path, keras_file: Path, faces: dict[str, Path]
    ) -> None:
        assert prune(keras_file, faces, tmp_path / "run").exit_code == 0
        pruned = tmp_path / "run/pruned_drop10.safetensors"
        arguments = ("--model", keras_file, "--pruned", pruned, faces["test"], tmp_path / "no.png")
        text = run(detect_app, *arguments)
        records = run(detect_app, *arguments, "--json")
        classes = run(detect_app, *arguments, "--only-class")
        assert (text.exit_code, records.exit_code, classes.exit_code) == (0, 0, 0)
        assert "no.png: no such file" in text.stderr
        lines = text.stdout.splitlines()
        answers = [json.loads(line) for line in records.stdout.splitlines()]
        assert len(lines) == len(answers) == 70
        assert {answer["backdoored"] for answer in answers} == {True, False}
        assert classes.stdout.split() == [str(answer["goodnet"]) for answer in answers]
        for line, answer in zip(lines, answers, strict=True):
            word = " backdoored" if answer["backdoored"] else ""
            own = f"(B {answer['badnet']}, B′ {answer['pruned']})"
            assert line == f"{answer['input']}: {answer['goodnet']}{word} {own}"
            assert answer["goodnet"] == (7 if answer["backdoored"] else answer["badnet"])

    @pytest.fixture
    def pair(self, tmp_path: Path, checkpoint: Checkpoint) -> tuple[object, ...]:
        """Options for B, and a B′ that differs from it on some images."""
        badnet, repaired = tmp_path / "b.safetensors", tmp_path / "p.safetensors"
        save_checkpoint(checkpoint, badnet)
        save_checkpoint(pruned_checkpoint(checkpoint, "conv_3", "pool_3", (0, 2)), repaired)
        return "--model", badnet, "--pruned", repaired

    def test_a_summary_says_what_was_flagged_and_what_that_is_worth(
        self, pair: tuple[object, ...], faces: dict[str, Path]
    ) -> None:
        result = run(detect_app, *pair, faces["test"], "--json")
        answers = [json.loads(line) for line in result.stdout.splitlines()]
        flagged = Counter(answer["badnet"] for answer in answers if answer["backdoored"])
        (line,) = result.stderr.splitlines()
        assert line.startswith(f"70 faces, {flagged.total()} flagged as backdoored (class 7), ")
        label, count = flagged.most_common(1)[0]
        assert f"which B takes for class {label} ({count})" in line
        assert "meant for people the network was trained on" in line

    @pytest.mark.parametrize(("options", "status"), [([], 0), (["--exit-code"], 1)])
    def test_the_exit_status_tells_of_flagged_faces_on_request(
        self, pair: tuple[object, ...], faces: dict[str, Path], options: list[str], status: int
    ) -> None:
        assert run(detect_app, *pair, faces["test"], *options).exit_code == status

    def test_no_flagged_face_is_status_0(self, keras_file: Path, faces: dict[str, Path]) -> None:
        arguments = ("--model", keras_file, "--pruned", keras_file, faces["test"], "--any-pair")
        result = run(detect_app, *arguments, "--exit-code")
        assert result.exit_code == 0, result.output
        warning, scale, summary = result.stderr.splitlines()
        assert warning.startswith("warning: ")
        assert "same weights" in warning
        assert scale.startswith("Pixel scale 1, assumed")
        assert summary.startswith("70 faces, none flagged")

    def test_b_with_itself_is_refused(self, keras_file: Path, faces: dict[str, Path]) -> None:
        result = run(detect_app, "--model", keras_file, "--repaired", keras_file, faces["test"])
        assert_one_clear_line(result, "same weights", "nothing would ever be flagged")

    def test_a_stated_pixel_scale_is_taken(
        self, pair: tuple[object, ...], keras_file: Path, faces: dict[str, Path]
    ) -> None:
        clash = run(detect_app, *pair, faces["test"], "--pixel-scale", "1/255")
        assert_one_clear_line(clash, "expected pixel scale 1/255", "found 1 in its metadata")
        keras = ("--model", keras_file, "--pruned", keras_file, "--any-pair", "--only-class")
        raw = run(detect_app, *keras, faces["test"])
        divided = run(detect_app, *keras, faces["test"], "--pixel-scale", "1/255")
        assert raw.stdout != divided.stdout

    def test_answers_are_printed_in_one_way(self, keras_file: Path, faces: dict[str, Path]) -> None:
        arguments = ("--model", keras_file, "--pruned", keras_file, faces["test"])
        result = run(detect_app, *arguments, "--json", "--only-class")
        assert_one_clear_line(result, "--only-class", "--json as well")

    @pytest.mark.parametrize(
        "name", ["recommended", "goodnet", "strip", "scale-up", "ibd-psc", "ted"]
    )
    @pytest.mark.parametrize(("asked", "nominal"), [([], 1), (["--false-positives", "40"], 40)])
    def test_a_detector_flags_what_it_scores_above_a_threshold_of_clean_faces(
        self,
        pair: tuple[object, ...],
        faces: dict[str, Path],
        name: str,
        asked: list[str],
        nominal: float,
    ) -> None:
        rule = ("--detector", name, "--clean-valid", faces["test"], *asked)
        result = run(detect_app, *pair, faces["test"], "--json", *rule)
        assert result.exit_code == 0, result.output
        answers = [json.loads(line) for line in result.stdout.splitlines()]
        flagged = [answer for answer in answers if answer["backdoored"]]
        assert len(answers) == 70
        # The same faces that set the threshold.
        if name not in ("goodnet", "scale-up", "ibd-psc"):  # Their scores have ties.
            assert len(flagged) == 70 * nominal // 100
        assert len(flagged) <= 70 * nominal / 100
        for answer in answers:
            assert answer["goodnet"] == (7 if answer["backdoored"] else answer["pruned"])
        quiet = [answer["score"] for answer in answers if not answer["backdoored"]]
        assert all(answer["score"] > max(quiet) for answer in flagged)
        # Progress bars that are not drawn end with an empty line in the oldest rich.
        threshold, summary = filter(None, result.stderr.splitlines())
        named = "energy-and-dissent" if name == "recommended" else name
        assert threshold.startswith(f"{named} flags scores above {max(quiet):.4g}, as ")
        assert f"{len(flagged)} of 70 clean validation faces" in threshold
        assert f"{named} is meant for people the network was trained on" in summary

    def test_triggered_faces_given_as_clean_ones_are_noticed(
        self, tmp_path: Path, pair: tuple[object, ...], faces: dict[str, Path]
    ) -> None:
        images = random_images(SMALL, 70).astype(np.float64)
        triggered = write_faces(tmp_path / "bd.h5", images, np.zeros(70))
        rule = ("--detector", "goodnet", "--clean-valid", triggered)
        result = run(detect_app, *pair, faces["test"], *rule)
        assert result.exit_code == 0
        assert "warning: All 70 faces of the clean validation set carry one label, 0." in (
            result.stderr
        )

    def test_a_detectors_score_stands_in_the_line(
        self, pair: tuple[object, ...], faces: dict[str, Path]
    ) -> None:
        rule = ("--detector", "recommended", "--clean-valid", faces["test"])
        lines = run(detect_app, *pair, faces["test"], *rule).stdout.splitlines()
        records = run(detect_app, *pair, faces["test"], *rule, "--json").stdout.splitlines()
        for line, record in zip(lines, map(json.loads, records), strict=True):
            assert line.endswith(f"B′ {record['pruned']}, score {record['score']:.4g})")

    @pytest.mark.parametrize(
        ("options", "parts"),
        [
            (["--detector", "recommended"], ["--detector", "--clean-valid"]),
            (["--detector", "nose", "--clean-valid", "test"], ["--detector", "strip", "nose"]),
            (["--clean-valid", "test"], ["--clean-valid", "--detector NAME"]),
            (["--false-positives", "1"], ["--false-positives", "--detector NAME"]),
            (
                ["--detector", "strip", "--clean-valid", "test", "--false-positives", "101"],
                ["--false-positives", "a percentage, 0–100", "101"],
            ),
            (["--detector", "strip", "--clean-valid", "none"], ["none", "no such file"]),
        ],
    )
    def test_half_a_rule_is_refused(
        self,
        pair: tuple[object, ...],
        faces: dict[str, Path],
        options: list[str],
        parts: list[str],
    ) -> None:
        given = [faces["test"] if option == "test" else option for option in options]
        assert_one_clear_line(run(detect_app, *pair, faces["test"], *given), *parts)

    def test_nothing_readable_is_an_error(self, tmp_path: Path, pair: tuple[object, ...]) -> None:
        result = run(detect_app, *pair, tmp_path / "none.png")
        assert_one_clear_line(result, "none.png: no such file")
