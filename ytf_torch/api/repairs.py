"""`ytf_torch.repair`: the steps of ytf-repair from Python."""

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
from ytf_torch.network.wrapped_module import save_network
from ytf_torch.progress import Track, untracked
from ytf_torch.report.drawing import Figure
from ytf_torch.report.repair.repair_verdict import judge_repair
from ytf_torch.run.repair import open_repair, repaired_checkpoint
from ytf_torch.run.repair import repair as run_repair
from ytf_torch.run.repair_settings import RepairSettings, check_settings


@dataclass(frozen=True, repr=False)
class RepairResult(Shown):
    """The result of a repair: B′, and the figures of B, B′ and GoodNet.

    badnet, checkpoint: B and B′. warnings: about the network and the image sets. files: path in the
    report folder → content.

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
        """B′: pixel values 0–255, (batch, channels, height, width) → logits (batch, classes). For a
        wrapped module, `network.module` is the repaired module, of its own class."""
        return self.checkpoint.model

    @property
    def goodnet(self) -> GoodNet:
        """GoodNet: the class of B where B and B′ agree, class N where they differ."""
        return GoodNet(self.badnet.model, self.network)

    @property
    def evaluation(self) -> Evaluation:
        """The counts of B, B′ and GoodNet on all sets."""
        return self.outcome.evaluation

    @property
    def verdict(self) -> str:
        """The effect on the backdoor, in one or two sentences."""
        verdict = judge_repair(self.outcome)
        return f"{verdict.headline} {verdict.detail}"

    def save(self, path: str | Path) -> None:
        """Write B′ as a safetensors file; for other formats see ytf_torch.export. For a wrapped
        module, the file contains the module's state_dict."""
        save_network(self.checkpoint, Path(path))

    def write_report(self, folder: str | Path) -> Path:
        """Write the folder of ytf-repair: repaired.safetensors, result.json and report.html.
        Returns the path of report.html.

        Raises InputError where the folder exists already or cannot be written.
        """
        return write_folder(self.files, folder)

    def to_frame(self) -> Any:  # noqa: ANN401
        """The figures of B, B′ and GoodNet as a pandas DataFrame.

        Raises ImportError where pandas is not installed.
        """
        return figures_frame(self._networks)

    def plot(self) -> Figure:
        """The figures of B, B′ and GoodNet with confidence intervals, as a matplotlib figure."""
        return figures_plot(self._networks)

    @property
    def _networks(self) -> dict[str, Figures | None]:
        evaluation = self.evaluation
        return {"B": evaluation.model, "B′": evaluation.repaired, "GoodNet": evaluation.goodnet}

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
    poisoned_valid: Images | Sequence[Images] = (),
    target: int | None = None,
    pixel_scale: float | str | None = None,
    preprocessing: PreprocessingForm | None = None,
    device: str = "auto",
    track: Track = untracked,
) -> RepairResult:
    """Repair a backdoored network with clean validation images only, and measure the result.

    method: "recommended", a name of a method of ytf-repair, or your own: an object with
    `candidates`, or one with `scores`, which ranks channels for pruning. seed: of the random
    numbers. poisoned_valid: triggered validation images; with them it is measured whether the
    backdoor comes back, see `outcome.relearning`, which takes a second repair. For the other
    arguments see `defend`. Test and triggered images are used only for measurement.
    Raises InputError where a file, an array or an argument is invalid, as ytf-repair does.

    >>> result = ytf_torch.repair("bd_net.h5", "valid.h5", method="pruning")
    >>> result.write_report("repaired").name, result.checkpoint.provenance.history[-1]
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
            poisoned_valid=image_sets_given(poisoned_valid, "poisoned_valid"),
            device=device_given(device),
            preprocessing=asked_preprocessing(pixel_scale, preprocessing),
        )
        check_settings(settings)
        opened, sets = open_repair(settings)
        command = "run from Python, by ytf_torch.repair"
        outcome = run_repair(settings, opened, sets, command, track)
        repaired = repaired_checkpoint(opened.badnet, outcome)
        return RepairResult(opened.badnet, repaired, outcome, opened.doubts, files_of(folder))
