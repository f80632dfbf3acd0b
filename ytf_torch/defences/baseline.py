"""What a network is worth before any defence, on the clean validation faces."""

from __future__ import annotations

from ytf_torch.defences.evaluation import evaluate
from ytf_torch.errors import InputError, argument
from ytf_torch.images.image_set import ImageSet
from ytf_torch.metrics import Tally
from ytf_torch.network.likelier_scale import rescaled
from ytf_torch.network.module import Network
from ytf_torch.network.pixel_scale import COMMON_PIXEL_SCALES, pixel_scale_text

DOUBTFUL_ACCURACY = 50.0
TELLING_GAIN = 30.0


def check_pixel_scale_by_accuracy(model: Network, clean_valid: ImageSet, baseline: Tally) -> None:
    """Raises InputError where another common pixel scale recognises the clean validation faces far
    better: then the model was converted with a wrong one. baseline: the set's tally, unpruned.
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


def clean_accuracy(model: Network, faces: ImageSet) -> float:
    """Share of faces that get their label, in percent."""
    share = evaluate(model, faces).model.clean_accuracy
    assert share is not None
    return share.rate
