"""The door to `ytf_torch.convert` for those who work in a clone: `from convert import …`.

An installation has no package of this name: a file convert.py in somebody's working folder would
take its place, or it that file's.
"""

from ytf_torch.convert import read_keras_model

__all__ = ["read_keras_model"]
