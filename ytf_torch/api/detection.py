"""`ytf_torch.detect`: the steps of ytf-detect from Python."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ytf_torch.api.inputs import (
    Images,
    Model,
    PreprocessingForm,
    device_given,
    image_sets_given,
    model_given,
    optional_images,
)
from ytf_torch.api.tables import Shown
from ytf_torch.defences.base import Detector
from ytf_torch.defences.detectors.answers import Answer
from ytf_torch.defences.detectors.answers import detect as answers
from ytf_torch.errors import InputError, argument
from ytf_torch.images.image_set import ImageSet
from ytf_torch.images.input_files import Unreadable
from ytf_torch.network.preprocessing import asked_preprocessing
from ytf_torch.progress import Track, untracked
from ytf_torch.run.detect import alarm_of, open_detection
from ytf_torch.run.detection_rule import detection_rule
from ytf_torch.run.sets import images_for

COLUMNS = ("input", "class", "B", "B′", "flagged")
# Number of rows that are displayed.
SHOWN = 10


@dataclass(frozen=True, repr=False)
class Detected(Shown):
    """The result of a detection: one answer per image.

    unreadable: why inputs could not be read, one line each. threshold: images with a higher score
    are flagged; None for GoodNet's own rule. warnings: about the networks and the clean images.

    >>> pruned = ytf_torch.pruned_checkpoint(checkpoint, "conv_3", "pool_3", [2])
    >>> ytf_torch.detect(checkpoint, pruned, "bd_test.h5")
    input          class  B  B′  flagged
    bd_test.h5[0]  0      0  0
    bd_test.h5[1]  7      0  4   yes
    ...
    24 faces, 7 flagged
    """

    answers: tuple[Answer, ...]
    unreadable: tuple[str, ...]
    threshold: float | None
    warnings: tuple[str, ...]

    @property
    def flagged(self) -> Counter[int]:
        """Number of flagged images by the class that B predicts."""
        return Counter(answer.badnet for answer in self.answers if answer.backdoored)

    def to_frame(self) -> Any:  # noqa: ANN401
        """One row per image as a pandas DataFrame, indexed by the input.

        Raises ImportError where pandas is not installed.
        """
        import pandas

        return pandas.DataFrame(map(asdict, self.answers)).set_index("input")

    @property
    def _cells(self) -> list[tuple[str, ...]]:
        return [COLUMNS, *map(_row, self.answers[:SHOWN])]

    @property
    def _below(self) -> list[str]:
        hidden = len(self.answers) - SHOWN
        summary = f"{len(self.answers):,} faces, {self.flagged.total():,} flagged"
        return [
            *([f"… and {hidden:,} more"] if hidden > 0 else []),
            *(f"Warning: {warning}" for warning in self.warnings),
            *self.unreadable,
            summary,
        ]


def _row(answer: Answer) -> tuple[str, ...]:
    classes = map(str, (answer.goodnet, answer.badnet, answer.pruned))
    return (answer.input, *classes, "yes" if answer.backdoored else "")


def detect(
    model: Model,
    repaired: Model,
    inputs: Images | Sequence[Images],
    *,
    detector: str | Detector | None = None,
    clean_valid: Images | None = None,
    false_positives: float | None = None,
    pixel_scale: float | str | None = None,
    preprocessing: PreprocessingForm | None = None,
    any_pair: bool = False,
    device: str = "auto",
    track: Track = untracked,
) -> Detected:
    """Flag images with a trigger, with GoodNet or another detector.

    model, repaired: B and B′. inputs: photos, files in the lab's format, folders of both, or image
    sets in memory. detector: "recommended", a name of a detector of ytf-detect, or an object with
    `scores`; by default GoodNet's rule. clean_valid: images on which the threshold of any other
    detector is calibrated, so that it flags at most `false_positives` percent of them.
    any_pair: accept a B′ that does not seem to be made from B.
    Raises InputError where an argument is invalid or no input can be read, as ytf-detect does.

    >>> pruned = ytf_torch.pruned_checkpoint(checkpoint, "conv_3", "pool_3", [2])
    >>> ytf_torch.detect("bd_net.h5", pruned, ["test.h5", "bd_test.h5"]).flagged.total()
    15
    """
    sources = image_sets_given(inputs, "inputs")
    rule = detection_rule(detector, optional_images(clean_valid, "clean_valid"), false_positives)
    detection = open_detection(
        model_given(model),
        model_given(repaired, "repaired"),
        rule,
        asked_preprocessing(pixel_scale, preprocessing),
        any_pair=any_pair,
        device=device_given(device),
    )
    badnet, copy = detection.pair.badnet.model, detection.pair.repaired.model
    sets = [
        images_for(badnet, source, f"inputs[{index}]") if isinstance(source, ImageSet) else source
        for index, source in enumerate(sources)
    ]
    alarm = alarm_of(detection, track)
    results = list(answers(badnet, copy, sets, alarm))
    unreadable = tuple(result.reason for result in results if isinstance(result, Unreadable))
    answered = tuple(result for result in results if isinstance(result, Answer))
    if not answered:
        reason = "; ".join(unreadable) or "nothing was given"
        raise InputError(argument("inputs"), f"no face can be read ({reason})")
    return Detected(
        answered,
        unreadable,
        None if alarm is None else alarm.threshold,
        (*detection.pair.doubts, *map(str, detection.doubts)),
    )
