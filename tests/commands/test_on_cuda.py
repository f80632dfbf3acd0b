"""Commands with `--device cuda`: on a simulated device, see claimed_cuda.py, and with the mark
`cuda` on a real one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from tests.made.claimed_cuda import CUDA, ClaimedDevice, ClaimedTensor, claimed_cuda
from tests.made.keras_files import SMALL, random_images
from tests.made.small_run import small_sets
from ytf_torch.commands.detect import app as detect_app
from ytf_torch.commands.prune import app as prune_app
from ytf_torch.commands.repair import NO
from ytf_torch.commands.repair import app as repair_app
from ytf_torch.images.batches import BATCH_SIZE
from ytf_torch.network.checkpoint import Checkpoint, load_checkpoint
from ytf_torch.network.deepid import deepid
from ytf_torch.network.pruned_layer import rank_points
from ytf_torch.sweep.fast import fast_engine
from ytf_torch.sweep.plain import PlainEngine
from ytf_torch.sweep.suffix import SuffixEngine


@pytest.fixture
def claimed(monkeypatch: pytest.MonkeyPatch) -> Iterator[ClaimedDevice]:
    with claimed_cuda(monkeypatch) as device:
        yield device


class TestTheClaimedDevice:
    def test_its_tensors_do_not_mix_with_others(self, claimed: ClaimedDevice) -> None:
        there, here = torch.ones(3, device=CUDA), torch.ones(3)
        assert isinstance(there, ClaimedTensor)
        assert there.device == CUDA
        assert (there + 1).device == CUDA
        with pytest.raises(RuntimeError, match="found one on the CPU"):
            there + here
        with pytest.raises(RuntimeError, match="found one on the CPU"):
            deepid(SMALL).to(CUDA)(torch.zeros(1, 3, 55, 47))
        assert not claimed.waits

    @pytest.mark.parametrize(
        ("waits", "look"),
        [
            ("item", lambda tensor: tensor.sum().item()),
            ("tolist", lambda tensor: tensor.tolist()),
            ("__bool__", lambda tensor: bool(tensor.all())),
            ("cpu", lambda tensor: tensor.cpu()),
            ("to", lambda tensor: tensor.to("cpu")),
            ("nonzero", lambda tensor: tensor.nonzero()),
            ("__getitem__", lambda tensor: tensor[tensor > 0]),
        ],
    )
    def test_whoever_looks_at_values_waits(self, claimed: ClaimedDevice, waits: str, look) -> None:
        tensor = torch.arange(3).to(CUDA)
        look(tensor[1:] + 1)
        assert dict(claimed.waits) == {waits: 1}


@pytest.mark.parametrize("batches", [1, 3])
@pytest.mark.parametrize("channels", [2, 6])
@pytest.mark.parametrize(
    ("engine", "layer", "waits"),
    [
        (PlainEngine, "conv_3", 0),
        (SuffixEngine, "conv_2", 2),
        (fast_engine, "conv_3", 5),
        (fast_engine, "conv_4", 5),
    ],
)
def test_an_engine_waits_a_few_times_a_group_however_many_steps_and_images_it_has(
    claimed: ClaimedDevice, engine: type, layer: str, waits: int, channels: int, batches: int
) -> None:
    torch.manual_seed(0)
    sizes = replace(SMALL, channels=(3, channels, channels, channels))
    network = deepid(sizes).eval().to(CUDA)
    with torch.inference_mode():
        made = engine(network, layer, rank_points(network.graph, layer)[0])
        claimed.waits.clear()
        pixels = torch.from_numpy(random_images(SMALL, BATCH_SIZE)).to(CUDA)
        prepared = torch.cat([made.observe(pixels)[1] for _ in range(batches)])
        assert not claimed.waits
        assert made.predictions(prepared, list(range(channels))).device == CUDA
    assert claimed.waits.total() == waits


def run(app: object, *words: object, status: int = 0) -> str:
    """Standard output of a command that must exit with the given status."""
    result = CliRunner().invoke(app, list(map(str, words)))  # type: ignore[arg-type]
    assert result.exit_code == status, result.stderr
    return result.stdout


def prune(folder: Path, model: Path, device: str, *more: str) -> Path:
    faces, out = folder / "faces", folder / "-".join([device, *more]).replace("--", "")
    sets = ("--clean-valid", faces / "valid.h5", "--clean-test", faces / "test.h5")
    inputs = ("--model", model, *sets, "--poisoned-test", faces / "bd_test0.h5")
    run(prune_app, *inputs, "--drops", "2,40", "--device", device, *more, "--out", out)
    return out


def result_without_device(run_folder: Path) -> str:
    record = json.loads((run_folder / "result.json").read_text())
    del record["device"]
    return json.dumps(record)


@contextmanager
def a_cuda_device(kind: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[ClaimedDevice | None]:
    if kind == "real":
        yield None
    else:
        with claimed_cuda(monkeypatch) as device:
            yield device


KINDS = ["claimed", pytest.param("real", marks=pytest.mark.cuda)]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "flags",
    [
        ("--engine", "fast"),
        ("--engine", "plain"),
        ("--engine", "fast", "--precision", "float64"),
        ("--engine", "fast", "--layer", "conv_2"),
    ],
)
def test_ytf_prune_gives_what_it_gives_on_the_cpu(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    keras_file: Path,
    checkpoint: Checkpoint,
    flags: tuple[str, ...],
    kind: str,
) -> None:
    small_sets(tmp_path / "faces", checkpoint)
    on_cpu = prune(tmp_path, keras_file, "cpu", *flags)
    with a_cuda_device(kind, monkeypatch) as device:
        on_cuda = prune(tmp_path, keras_file, "cuda", *flags)
    if device is None:  # a GPU adds in another order: counts are the same, means to some digits
        assert (on_cuda / "trace.csv").read_bytes() == (on_cpu / "trace.csv").read_bytes()
        return
    assert result_without_device(on_cuda) == result_without_device(on_cpu)
    for name in ("trace.csv", "pruned_drop2.safetensors"):
        assert (on_cuda / name).read_bytes() == (on_cpu / name).read_bytes()
    assert device.waits.total() < 40


@pytest.mark.parametrize("kind", KINDS)
def test_ytf_detect_answers_what_it_answers_on_the_cpu(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    keras_file: Path,
    checkpoint: Checkpoint,
    kind: str,
) -> None:
    small_sets(tmp_path / "faces", checkpoint)
    pruned = prune(tmp_path, keras_file, "cpu") / "pruned_drop2.safetensors"
    words = ("--model", keras_file, "--pruned", pruned, tmp_path / "faces/bd_test0.h5")
    on_cpu = run(detect_app, *words, "--device", "cpu")
    with a_cuda_device(kind, monkeypatch):
        assert run(detect_app, *words, "--device", "cuda") == on_cpu


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("method", ["pruning", "ft-sam"])
@pytest.mark.slow
def test_ytf_repair_repairs_as_on_the_cpu(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    keras_file: Path,
    checkpoint: Checkpoint,
    method: str,
    kind: str,
) -> None:
    sets = small_sets(tmp_path / "faces", checkpoint)
    words = ("--model", keras_file, "--clean-valid", sets.clean_valid.path, "--method", method)
    # Of a random network nothing is left that is worth using.
    run(repair_app, *words, "--device", "cpu", "--out", tmp_path / "cpu", status=NO)
    with a_cuda_device(kind, monkeypatch):
        run(repair_app, *words, "--device", "cuda", "--out", tmp_path / "cuda", status=NO)
    repaired = [tmp_path / device / "repaired.safetensors" for device in ("cuda", "cpu")]
    if kind == "claimed":  # training on a GPU rounds otherwise, and every step adds to it
        assert repaired[0].read_bytes() == repaired[1].read_bytes()
    assert load_checkpoint(repaired[0]).model.classes == SMALL.classes
