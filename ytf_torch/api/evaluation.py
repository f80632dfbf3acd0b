"""What networks are worth, from Python: the flow of ytf-evaluate."""

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
    """An evaluation that looks like its table, with what speaks against what it was made of.

    files: of the triggered sets. warnings: one sentence each; empty where all is well.

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
        """The figures of each network with their intervals, a matplotlib figure."""
        return figures_plot(self._networks)

    def record(self) -> dict[str, Any]:
        """Every figure with its interval, as `ytf-evaluate --json` writes it."""
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
    """What a network is worth: its clean accuracy and attack success rate, each with its interval.

    repaired: B′, which is evaluated too, alone and with the network as GoodNet. Faces are
    lab-format files, or arrays by images_of; triggered ones are labelled with the target, or it is
    given as `target` where they carry their true labels. true_labels: a set whose labels say who is
    on the triggered faces. any_pair: take a B′ that does not seem to be made from B.
    Raises InputError where a file, an array or an argument cannot be used, as ytf-evaluate does;
    what only looks wrong is in the `warnings`.

    >>> ytf_torch.evaluate("bd_net.h5", "test.h5").model.clean_accuracy
    100.00 % (86.20–100.00), 24 of 24
    """
    triggered = image_sets_given(poisoned_tests, "poisoned_tests")
    if true_labels is not None and not triggered:
        raise mismatch(argument("true_labels"), "triggered faces with it", "none")
    given = model_given(model)
    if clean_test is None and not triggered:
        names = f"{argument('clean_test')} or {argument('poisoned_tests')}"
        raise InputError(name_of(given, "model"), "nothing to evaluate it on", f"Give {names}")
    inputs = open_evaluation(
        given,
        optional_model(repaired, "repaired"),
        optional_images(clean_test, "clean_test"),
        triggered,
        target=checked_target(target),
        true_labels=optional_images(true_labels, "true_labels"),
        asked=asked_preprocessing(pixel_scale, preprocessing),
        any_pair=any_pair,
        device=device_given(device),
    )
    found = evaluated(inputs, track)
    counts = {field.name: getattr(found.evaluation, field.name) for field in fields(Evaluation)}
    return Evaluated(
        **counts,
        files=tuple(faces.path for faces in inputs.poisoned_tests),
        warnings=(*inputs.opened.doubts, *map(str, found.doubts)),
    )
