"""Defend a backdoored face-recognition network: prune it, detect triggered inputs, report."""

from ytf_torch.checkpoint import Checkpoint, Provenance, load_checkpoint, save_checkpoint
from ytf_torch.defence import Defence, FaceSets, pruned_checkpoint, run_defence
from ytf_torch.errors import InputError
from ytf_torch.faces import FaceSet, open_faces
from ytf_torch.goodnet import GoodNet
from ytf_torch.masking import ChannelMask, bake_mask
from ytf_torch.model import DeepID, DeepIDSizes

__all__ = [
    "ChannelMask",
    "Checkpoint",
    "DeepID",
    "DeepIDSizes",
    "Defence",
    "FaceSet",
    "FaceSets",
    "GoodNet",
    "InputError",
    "Provenance",
    "bake_mask",
    "load_checkpoint",
    "open_faces",
    "pruned_checkpoint",
    "run_defence",
    "save_checkpoint",
]
