"""Checks on the clean validation images before any defence."""

from __future__ import annotations

from ytf_torch.defences.evaluation import evaluate
from ytf_torch.errors import InputError, argument
from ytf_torch.images.image_set import ImageSet
from ytf_torch.metrics import Tally
from ytf_torch.network.likelier_scale import rescaled
from ytf_torch.network.module import Network
from ytf_torch.network.pixel_scale import COMMON_PIXEL_SCALES, pixel_scale_text

# Percent: below this clean accuracy, other pixel scales are tried.
DOUBTFUL_ACCURACY = 50.0
# Percentage points: by so much better, another pixel scale is taken to be the right one.
TELLING_GAIN = 30.0


def check_pixel_scale_by_accuracy(model: Network, clean_valid: ImageSet, baseline: Tally) -> None:
    """Raises InputError if the clean accuracy is below DOUBTFUL_ACCURACY and another common pixel
    scale raises it by TELLING_GAIN: the model was then converted with a wrong one.

    baseline: the tally of `clean_valid`, with the unpruned network at step 0.
    """
    accuracy = baseline.at(0).correct.rate
    if accuracy >= DOUBTFUL_ACCURACY:
        return
    for name, scale in COMMON_PIXEL_SCALES.items():
        other = clean_accuracy(rescaled(model, scale), clean_valid)
        if other >= accuracy + TELLING_GAIN:
            raise InputError(
                clean_valid.path,
                f"clean accuracy is {accuracy:.1f} % with the model's pixel scale "
                f"{pixel_scale_text(model.pixel_scale)}, and {other:.1f} % with {name}",
                f"Give {argument('pixel_scale', name)}; a converted model has to be converted "
                "again with it",
            )


def clean_accuracy(model: Network, images: ImageSet) -> float:
    """Accuracy on a clean set, in percent."""
    share = evaluate(model, images).model.clean_accuracy
    assert share is not None
    return share.rate
