"""`ytf_torch.evaluate`: the steps of ytf-evaluate from Python."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from ytf_torch.api.inputs import (
    Images,
    Model,
    PreprocessingForm,
    checked_target,
    device_given,
    image_sets_given,
    model_given,
    optional_images,
    optional_model,
)
from ytf_torch.api.tables import Cells, Shown, figures_frame, figures_plot, figures_rows
from ytf_torch.defences.evaluation import Evaluation
from ytf_torch.errors import InputError, argument, mismatch
from ytf_torch.metrics import Figures
from ytf_torch.network.preprocessing import asked_preprocessing
from ytf_torch.progress import Track, untracked
from ytf_torch.report.drawing import Figure
from ytf_torch.report.evaluation_record import evaluation_record
from ytf_torch.run.evaluate import evaluate as evaluated
from ytf_torch.run.evaluate import open_evaluation
from ytf_torch.run.pair import name_of


@dataclass(frozen=True, repr=False)
class Evaluated(Shown, Evaluation):
    """The result of an evaluation; displayed as its table.

    files: paths of the triggered sets. warnings: about networks and image sets, one sentence each.

    >>> ytf_torch.evaluate("bd_net.h5", "test.h5", "bd_test.h5")
    network  test accuracy  ASR      ASR without target  clean to target  robust accuracy
    network  100.00 %       54.17 %  41.67 %             0.00 %           58.33 %
    """

    files: tuple[Path, ...] = ()
    warnings: tuple[str, ...] = ()

    def to_frame(self) -> Any:  # noqa: ANN401
        """The figures of each network as a pandas DataFrame.

        Raises ImportError where pandas is not installed.
        """
        return figures_frame(self._networks)

    def plot(self) -> Figure:
        """The figures of each network with confidence intervals, as a matplotlib figure."""
        return figures_plot(self._networks)

    def record(self) -> dict[str, Any]:
        """Every figure with its confidence interval, as `ytf-evaluate --json` writes it."""
        files = self.files if len(self.files) == len(self.triggered) else ()
        return evaluation_record(self, files)

    @property
    def _networks(self) -> dict[str, Figures | None]:
        if not self.with_repaired:
            return {"network": self.model}
        return {"B": self.model, "B′": self.repaired, "GoodNet": self.goodnet}

    @property
    def _cells(self) -> Cells:
        return figures_rows(self._networks)

    @property
    def _below(self) -> list[str]:
        return [f"Warning: {warning}" for warning in self.warnings]


def evaluate(
    model: Model,
    clean_test: Images | None = None,
    poisoned_tests: Images | Sequence[Images] = (),
    *,
    repaired: Model | None = None,
    target: int | None = None,
    true_labels: Images | None = None,
    pixel_scale: float | str | None = None,
    preprocessing: PreprocessingForm | None = None,
    any_pair: bool = False,
    device: str = "auto",
    track: Track = untracked,
) -> Evaluated:
    """Measure clean accuracy and attack success rate of a network, with confidence intervals.

    repaired: B′, which is evaluated too, alone and in the GoodNet of both networks. Image sets are
    files in the lab's format, or arrays by images_of. Triggered images are labelled with the
    attacker's target; if they have their true labels, give `target`. true_labels: a set with the
    true labels of the triggered images. any_pair: accept a B′ that does not seem to be made from B.
    Raises InputError where a file, an array or an argument is invalid, as ytf-evaluate does;
    suspected problems are in `warnings`.

    >>> ytf_torch.evaluate("bd_net.h5", "test.h5").model.clean_accuracy
    100.00 % (86.20–100.00), 24 of 24
    """
    triggered = image_sets_given(poisoned_tests, "poisoned_tests")
    if true_labels is not None and not triggered:
        raise mismatch(argument("true_labels"), "triggered faces with it", "none")
    source = model_given(model)
    if clean_test is None and not triggered:
        names = f"{argument('clean_test')} or {argument('poisoned_tests')}"
        raise InputError(name_of(source, "model"), "nothing to evaluate it on", f"Give {names}")
    inputs = open_evaluation(
        source,
        optional_model(repaired, "repaired"),
        optional_images(clean_test, "clean_test"),
        triggered,
        target=checked_target(target),
        true_labels=optional_images(true_labels, "true_labels"),
        asked=asked_preprocessing(pixel_scale, preprocessing),
        any_pair=any_pair,
        device=device_given(device),
    )
    result = evaluated(inputs, track)
    counts = {field.name: getattr(result.evaluation, field.name) for field in fields(Evaluation)}
    return Evaluated(
        **counts,
        files=tuple(faces.path for faces in inputs.poisoned_tests),
        warnings=(*inputs.opened.doubts, *map(str, result.doubts)),
    )
