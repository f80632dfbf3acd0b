"""Alias of `ytf_torch.convert` in a clone of the repository: `from convert import …`.

Not part of the installed package, where this name could collide with a file convert.py in the
user's working folder.
"""

from ytf_torch.convert import read_keras_model

__all__ = ["read_keras_model"]
