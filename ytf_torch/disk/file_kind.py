"""Names of file kinds for error messages, with the remedy if another kind was expected."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class FileKind:
    """A kind of file. words: its name in messages, such as "a Git LFS pointer". remedy: what to do
    if another kind was expected."""

    words: str
    remedy: str = ""


EXPORTED = "It is written for other programs: give the model that it was exported from"
SAVE_IN_KERAS = "Save the Keras model with model.save('….keras') or model.save('….h5'), give that"
LOAD_WEIGHTS = (
    "In Python, torch.load(…, weights_only=True) reads a model's weights, load_state_dict puts "
    "them into a module that you build, and ytf_torch.wrap takes that"
)
SAVED_MODEL = "Load it in the Keras that saved it, and save it with model.save('….h5')"
