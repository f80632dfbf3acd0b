"""Checks on the clean validation images before any defence."""

from __future__ import annotations

from ytf_torch.defences.evaluation import evaluate
from ytf_torch.errors import WrongSettingError, argument
from ytf_torch.images.image_set import ImageSet
from ytf_torch.metrics import Tally
from ytf_torch.network.likelier_scale import with_preprocessing
from ytf_torch.network.module import Network
from ytf_torch.network.pixel_scale import COMMON_PIXEL_SCALES
from ytf_torch.network.preprocessing import KERAS_MODES, Preprocessing

# Percent: below this clean accuracy, other pixel scales are tried.
DOUBTFUL_ACCURACY = 50.0
# Percentage points: by so much better, another pixel scale is taken to be the right one.
TELLING_GAIN = 30.0


def check_pixel_scale_by_accuracy(model: Network, clean_valid: ImageSet, baseline: Tally) -> None:
    """Raises WrongSettingError if the clean accuracy is below DOUBTFUL_ACCURACY and another common
    pixel scale, or a preprocessing of Keras's applications, raises it by TELLING_GAIN: the model
    was then converted with a wrong one.

    baseline: the tally of `clean_valid`, with the unpruned network at step 0.
    """
    accuracy = baseline.at(0).correct.rate
    if accuracy >= DOUBTFUL_ACCURACY:
        return
    found = {
        common: clean_accuracy(with_preprocessing(model, common), clean_valid)
        for common in _common(model.input_shape[0])
    }
    likelier = max(found, key=lambda common: found[common])
    if found[likelier] >= accuracy + TELLING_GAIN:
        raise WrongSettingError(
            clean_valid.path,
            f"clean accuracy is {accuracy:.1f} % with the model's {model.pixel_preprocessing.words}"
            f", and {found[likelier]:.1f} % with {likelier.words.removeprefix('pixel scale ')}",
            f"Give {argument(*likelier.asked_by)}; a converted model has to be converted "
            "again with it",
        )


def _common(channels: int) -> list[Preprocessing]:
    """What many networks of so many channels read of pixel values; pixel scales come first."""
    scales = map(Preprocessing, COMMON_PIXEL_SCALES.values())
    return [*scales, *(mode for mode in KERAS_MODES.values() if mode.fits(channels))]


def clean_accuracy(model: Network, images: ImageSet) -> float:
    """Accuracy on a clean set, in percent."""
    share = evaluate(model, images).model.clean_accuracy
    assert share is not None
    return share.rate
