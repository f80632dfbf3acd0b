"""Everything that `import ytf_torch` offers, by name."""

from ytf_torch.defences.detectors.goodnet import GoodNet
from ytf_torch.defences.outcome import Defence
from ytf_torch.defences.repairs.pruning import pruned_checkpoint, run_defence
from ytf_torch.errors import InputError
from ytf_torch.faces.face_set import FaceSet, FaceSets, open_faces
from ytf_torch.network.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from ytf_torch.network.deepid import DeepID, DeepIDSizes
from ytf_torch.network.masking import ChannelMask, bake_mask
from ytf_torch.network.provenance import Provenance

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
