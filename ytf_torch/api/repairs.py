"""One repair from Python: the flow of ytf-repair."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ytf_torch.api.folders import files_of, temporary_run, write_folder
from ytf_torch.api.inputs import (
    Images,
    Model,
    PreprocessingForm,
    checked_target,
    device_given,
    image_sets_given,
    images_given,
    model_given,
    optional_images,
    seed_given,
)
from ytf_torch.api.tables import Cells, Shown, figures_frame, figures_plot, figures_rows
from ytf_torch.defences.base import Ranking, Repair
from ytf_torch.defences.detectors.goodnet import GoodNet
from ytf_torch.defences.evaluation import Evaluation
from ytf_torch.defences.names import RECOMMENDED, repair_called
from ytf_torch.defences.repairing import RepairOutcome
from ytf_torch.metrics import Figures
from ytf_torch.network.checkpoint import Checkpoint
from ytf_torch.network.module import Network
from ytf_torch.network.preprocessing import asked_preprocessing
from ytf_torch.network.wrapped import save_network
from ytf_torch.progress import Track, untracked
from ytf_torch.report.drawing import Figure
from ytf_torch.report.repair.repair_verdict import judge_repair
from ytf_torch.run.repair import open_repair, repaired_checkpoint
from ytf_torch.run.repair import repair as run_repair
from ytf_torch.run.repair_settings import RepairSettings, check_settings


@dataclass(frozen=True, repr=False)
class RepairResult(Shown):
    """A repair: B′, its figures beside those of B and GoodNet, and what looks wrong.

    badnet, checkpoint: B and B′. warnings: what speaks against the network and the face sets.

    >>> ytf_torch.repair("bd_net.h5", "valid.h5", "test.h5", method="pruning")
    network  validation accuracy  test accuracy  FPR
    B        100.00 %             100.00 %       –
    B′       66.67 %              58.33 %        –
    GoodNet  66.67 %              58.33 %        41.67 %
    ...
    """

    badnet: Checkpoint
    checkpoint: Checkpoint
    outcome: RepairOutcome
    warnings: tuple[str, ...]
    files: Mapping[str, bytes] = field(repr=False)

    @property
    def network(self) -> Network:
        """B′ itself: pixel values 0–255, (batch, 3, height, width) → logits. Of a wrapped module,
        network.module is B′ as the class that it was wrapped as."""
        return self.checkpoint.model

    @property
    def goodnet(self) -> GoodNet:
        """G: B's class where both agree, class N where they differ."""
        return GoodNet(self.badnet.model, self.network)

    @property
    def evaluation(self) -> Evaluation:
        """The counts of B, B′ and GoodNet on all sets."""
        return self.outcome.evaluation

    @property
    def verdict(self) -> str:
        """What became of the backdoor, in a sentence or two."""
        found = judge_repair(self.outcome)
        return f"{found.headline} {found.detail}"

    def save(self, path: str | Path) -> None:
        """Write B′ as a safetensors file; ytf_torch.export writes other formats. Of a wrapped
        module it holds the weights, under the module's own names."""
        save_network(self.checkpoint, Path(path))

    def write_report(self, folder: str | Path) -> Path:
        """Write the folder that ytf-repair writes: repaired.safetensors, result.json and
        report.html, whose path it gives.

        Raises InputError where the folder is there already, or cannot be written.
        """
        return write_folder(self.files, folder)

    def to_frame(self) -> Any:  # noqa: ANN401
        """The figures of B, B′ and GoodNet as a pandas DataFrame.

        Raises ImportError where pandas is not installed.
        """
        return figures_frame(self._networks)

    def plot(self) -> Figure:
        """The figures of B, B′ and GoodNet with their intervals, a matplotlib figure."""
        return figures_plot(self._networks)

    @property
    def _networks(self) -> dict[str, Figures | None]:
        found = self.evaluation
        return {"B": found.model, "B′": found.repaired, "GoodNet": found.goodnet}

    @property
    def _cells(self) -> Cells:
        return figures_rows(self._networks)

    @property
    def _below(self) -> list[str]:
        return [*(f"Warning: {warning}" for warning in self.warnings), self.verdict]


def repair(
    model: Model,
    clean_valid: Images,
    clean_test: Images | None = None,
    poisoned_tests: Images | Sequence[Images] = (),
    *,
    method: str | Repair | Ranking = RECOMMENDED,
    seed: int = 0,
    target: int | None = None,
    pixel_scale: float | str | None = None,
    preprocessing: PreprocessingForm | None = None,
    device: str = "auto",
    track: Track = untracked,
) -> RepairResult:
    """Repair a backdoored network with clean validation faces alone, and measure the result.

    method: "recommended", a name that ytf-repair knows, or a repair of your own: an object with
    `candidates`, or with `scores`, which is a ranking to prune by. The others are as for
    `defend`. Test and triggered faces are measured, never used to choose.
    Raises InputError where a file, an array or an argument cannot be used, as ytf-repair does.

    >>> found = ytf_torch.repair("bd_net.h5", "valid.h5", method="pruning")
    >>> found.write_report("repaired").name, found.checkpoint.provenance.history[-1]
    ('report.html', 'pruned 1 of 6 channels of conv_3, at a drop of 4 points')
    """
    with temporary_run() as folder:
        settings = RepairSettings(
            model=model_given(model),
            clean_valid=images_given(clean_valid, "clean_valid"),
            out=folder,
            clean_test=optional_images(clean_test, "clean_test"),
            poisoned_test=image_sets_given(poisoned_tests, "poisoned_tests"),
            target=checked_target(target),
            method=repair_called(method) if isinstance(method, str) else method,
            seed=seed_given(seed),
            device=device_given(device),
            preprocessing=asked_preprocessing(pixel_scale, preprocessing),
        )
        check_settings(settings)
        opened, sets = open_repair(settings)
        command = "run from Python, by ytf_torch.repair"
        outcome = run_repair(settings, opened, sets, command, track)
        made = repaired_checkpoint(opened.badnet, outcome)
        return RepairResult(opened.badnet, made, outcome, opened.doubts, files_of(folder))
