"""An answer for each face, from Python: the flow of ytf-detect."""

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
# So many answers are shown of a long list.
SHOWN = 10


@dataclass(frozen=True, repr=False)
class Detected(Shown):
    """An answer for each face, and the inputs that could not be read, with why.

    threshold: the score above which a face is flagged; None where GoodNet's own rule flags it.
    warnings: what speaks against the networks and the clean faces.

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
        """How many faces were flagged, by the class that B answers."""
        return Counter(answer.badnet for answer in self.answers if answer.backdoored)

    def to_frame(self) -> Any:  # noqa: ANN401
        """A row for each face as a pandas DataFrame, indexed by the input.

        Raises ImportError where pandas is not installed.
        """
        import pandas

        return pandas.DataFrame(map(asdict, self.answers)).set_index("input")

    @property
    def _cells(self) -> list[tuple[str, ...]]:
        return [COLUMNS, *map(_row, self.answers[:SHOWN])]

    @property
    def _below(self) -> list[str]:
        left = len(self.answers) - SHOWN
        said = f"{len(self.answers):,} faces, {self.flagged.total():,} flagged"
        return [
            *([f"… and {left:,} more"] if left > 0 else []),
            *(f"Warning: {warning}" for warning in self.warnings),
            *self.unreadable,
            said,
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
    """Ask GoodNet, or another detector, about photos, lab-format files, folders of both and faces
    in memory.

    repaired: B′. detector: "recommended", a name that ytf-detect knows, or an object with `scores`;
    it needs clean_valid, faces on which its threshold is set, so that it flags at most
    `false_positives` percent of them.
    any_pair: take a B′ that does not seem to be made from B.
    Raises InputError where an argument cannot be used, or no input can be read, as ytf-detect does.

    >>> pruned = ytf_torch.pruned_checkpoint(checkpoint, "conv_3", "pool_3", [2])
    >>> ytf_torch.detect("bd_net.h5", pruned, ["test.h5", "bd_test.h5"]).flagged.total()
    15
    """
    given = image_sets_given(inputs, "inputs")
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
        images_for(badnet, faces, f"inputs[{place}]") if isinstance(faces, ImageSet) else faces
        for place, faces in enumerate(given)
    ]
    alarm = alarm_of(detection, track)
    found = list(answers(badnet, copy, sets, alarm))
    unreadable = tuple(one.reason for one in found if isinstance(one, Unreadable))
    told = tuple(one for one in found if isinstance(one, Answer))
    if not told:
        reason = "; ".join(unreadable) or "nothing was given"
        raise InputError(argument("inputs"), f"no face can be read ({reason})")
    return Detected(
        told,
        unreadable,
        None if alarm is None else alarm.threshold,
        (*detection.pair.doubts, *map(str, detection.doubts)),
    )
