"""Everything of a sweep happens on the model's device: shown with fake CUDA tensors on any machine,
and with real ones where there is a GPU."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from tests.made.keras_files import SMALL, random_images
from tests.made.small_run import small_sets
from ytf_torch import device
from ytf_torch.defences.base import Candidate
from ytf_torch.defences.detectors.alarm import scores_of
from ytf_torch.defences.detectors.goodnet import Disagreement, GoodNet
from ytf_torch.device import resolve_device
from ytf_torch.errors import InputError
from ytf_torch.images.batches import BATCH_SIZE
from ytf_torch.images.image_set import ImageBatch
from ytf_torch.network.checkpoint import Checkpoint
from ytf_torch.network.deepid import deepid, deepid_graph
from ytf_torch.network.masking import ChannelMask
from ytf_torch.network.module import Network
from ytf_torch.network.pruned_layer import rank_points
from ytf_torch.sweep.plain import PlainEngine
from ytf_torch.sweep.suffix import SuffixEngine

DEEPID = deepid_graph(SMALL)

CUDA = torch.device("cuda", 0)
META = torch.device("meta")


@pytest.fixture
def fake_cuda_model():
    """A DeepID whose parameters claim to be on a GPU; the test runs under FakeTensorMode."""
    model = deepid(SMALL).eval()
    with FakeTensorMode(allow_non_fake_inputs=False), torch.no_grad():
        for module in model.modules():
            for name, parameter in list(module.named_parameters(recurse=False)):
                placed = torch.empty(parameter.shape, device=CUDA)
                setattr(module, name, torch.nn.Parameter(placed, requires_grad=False))
        yield model


def test_the_model_the_mask_and_goodnet_stay_on_the_gpu(fake_cuda_model: Network) -> None:
    model = fake_cuda_model
    pixels = torch.empty(4, 3, 55, 47, dtype=torch.uint8, device=CUDA)
    assert model.device == CUDA
    assert model(pixels).device == CUDA
    with ChannelMask(model.conv_3, [0, 2]):
        assert model(pixels).device == CUDA
    assert GoodNet(model, model)(pixels).device == CUDA


@pytest.mark.parametrize(("layer", "rank_at"), [("conv_3", "pool_3"), ("conv_4", "conv_4")])
def test_the_plain_engine_never_leaves_the_gpu(
    fake_cuda_model: Network, layer: str, rank_at: str
) -> None:
    engine = PlainEngine(fake_cuda_model, layer, rank_at)
    batch = ImageBatch(torch.empty(4, 3, 55, 47), torch.zeros(4, dtype=torch.int64)).to(CUDA)
    assert engine.observe(batch.pixels)[0].device == CUDA
    predictions = engine.predictions(batch.pixels, [1, 0, 2])
    assert (predictions.device, predictions.shape) == (CUDA, (4, 4))


@pytest.mark.parametrize(
    ("layer", "rank_at"),
    [(f"conv_{n}", point) for n in (1, 2, 3, 4) for point in rank_points(DEEPID, f"conv_{n}")],
)
def test_the_suffix_engine_stays_on_the_models_device(layer: str, rank_at: str) -> None:
    engine = SuffixEngine(deepid(SMALL).to(META), layer, rank_at)
    pixels = torch.empty(BATCH_SIZE, 3, 55, 47, dtype=torch.uint8, device=META)
    output, prepared = engine.observe(pixels)
    assert (output.device, prepared.device) == (META, META)
    masked = torch.zeros(1, output.shape[1], dtype=torch.bool, device=META)
    assert engine.logits(prepared, masked).device == META


def test_auto_takes_what_there_is() -> None:
    expected = "cuda" if torch.cuda.is_available() else "cpu"
    assert resolve_device("auto").type == expected
    assert resolve_device("cpu").type == "cpu"


def test_choosing_a_device_changes_nothing_in_the_process() -> None:
    before = torch.backends.cudnn.allow_tf32
    resolve_device("cpu")
    assert torch.backends.cudnn.allow_tf32 == before


class Witness:
    """A detector, which says whether float32 may be rounded where faces are scored."""

    def scores(
        self, network: Network, candidate: Candidate | None, pixels: torch.Tensor
    ) -> torch.Tensor:
        exact = torch.get_float32_matmul_precision() == "highest"
        rounded = torch.backends.cudnn.allow_tf32 or not exact
        return torch.full((len(pixels),), float(rounded))


@pytest.mark.parametrize("fails", [False, True])
def test_float32_stays_exact_while_computing_and_the_settings_come_back(
    tmp_path: Path, checkpoint: Checkpoint, fails: bool
) -> None:
    faces = small_sets(tmp_path / "faces", checkpoint).clean_valid
    before = torch.backends.cudnn.allow_tf32, torch.get_float32_matmul_precision()
    torch.backends.cudnn.allow_tf32 = True
    torch.set_float32_matmul_precision("high")
    try:
        if fails:
            with pytest.raises(ValueError, match="expected a candidate"):
                scores_of(Disagreement(), checkpoint.model, None, faces)
        else:
            assert not scores_of(Witness(), checkpoint.model, None, faces).any()
        assert torch.backends.cudnn.allow_tf32
        assert torch.get_float32_matmul_precision() == "high"
    finally:
        torch.backends.cudnn.allow_tf32 = before[0]
        torch.set_float32_matmul_precision(before[1])


def test_another_name_is_refused() -> None:
    with pytest.raises(InputError, match="expected auto, cpu or cuda, found mps"):
        resolve_device("mps")


class TestProcessesOfTorchrun:
    @pytest.fixture(autouse=True)
    def _two_gpus(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(device, "launched", lambda: True)
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)

    @pytest.mark.parametrize("local_rank", [0, 1])
    @pytest.mark.parametrize("name", ["cuda", "auto"])
    def test_each_takes_a_gpu_of_its_own(
        self, monkeypatch: pytest.MonkeyPatch, name: str, local_rank: int
    ) -> None:
        monkeypatch.setenv("LOCAL_RANK", str(local_rank))
        assert resolve_device(name) == torch.device("cuda", local_rank)
        assert resolve_device("cpu") == torch.device("cpu")

    def test_more_processes_than_gpus_are_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("LOCAL_RANK", "2")
        with pytest.raises(InputError, match="at most 2, one process for each GPU"):
            resolve_device("cuda")


@pytest.mark.cuda
def test_a_gpu_predicts_what_the_cpu_does(checkpoint: Checkpoint) -> None:
    pixels = torch.from_numpy(random_images(SMALL, 64))
    with torch.inference_mode():
        on_cpu = PlainEngine(checkpoint.model, "conv_3", "pool_3").predictions(pixels, [0, 1, 2])
        engine = PlainEngine(checkpoint.model.to(CUDA), "conv_3", "pool_3")
        on_gpu = engine.predictions(pixels.to(CUDA), [0, 1, 2])
    assert torch.equal(on_gpu.cpu(), on_cpu)
