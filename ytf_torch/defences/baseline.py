"""What a network is worth before any defence, on the clean validation faces."""

from __future__ import annotations

import copy

from ytf_torch.defences.evaluation import evaluate
from ytf_torch.errors import InputError, argument
from ytf_torch.images.image_set import ImageSet
from ytf_torch.metrics import Tally
from ytf_torch.network.module import Network
from ytf_torch.network.pixel_scale import COMMON_PIXEL_SCALES
from ytf_torch.network.preprocessing import KERAS_MODES, Preprocessing

DOUBTFUL_ACCURACY = 50.0
TELLING_GAIN = 30.0


def check_pixel_scale_by_accuracy(model: Network, clean_valid: ImageSet, baseline: Tally) -> None:
    """Raises InputError where another common pixel scale, or a preprocessing of Keras's
    applications, recognises the clean validation faces far better: then the model was converted
    with a wrong one. baseline: the set's tally, unpruned.
    """
    accuracy = baseline.at(0).correct.rate
    if accuracy >= DOUBTFUL_ACCURACY:
        return
    found = {
        common: clean_accuracy(_reading(model, common), clean_valid)
        for common in _common(model.input_shape[0])
    }
    likelier = max(found, key=lambda common: found[common])
    if found[likelier] >= accuracy + TELLING_GAIN:
        raise InputError(
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


def _reading(network: Network, preprocessing: Preprocessing) -> Network:
    """The same network, with the same weights in memory, reading pixels in another way."""
    other = copy.copy(network)
    other.pixel_preprocessing = preprocessing
    return other


def clean_accuracy(model: Network, faces: ImageSet) -> float:
    """Share of faces that get their label, in percent."""
    share = evaluate(model, faces).model.clean_accuracy
    assert share is not None
    return share.rate
