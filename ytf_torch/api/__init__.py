"""The public names of `ytf_torch`."""

from ytf_torch.api.audit import AuditResult, audit
from ytf_torch.api.comparison import Comparison, compare
from ytf_torch.api.defence import PruningDefence, Repaired, defend
from ytf_torch.api.detection import Detected, detect
from ytf_torch.api.evaluation import Evaluated, evaluate
from ytf_torch.api.networks import export, predict, read_model, wrap
from ytf_torch.api.notebook import notebook_bars
from ytf_torch.api.repairs import RepairResult, repair
from ytf_torch.api.scans import ScanResult, scan
from ytf_torch.convert import read_keras_model
from ytf_torch.convert.export import Export
from ytf_torch.defences.detectors.goodnet import GoodNet
from ytf_torch.defences.evaluation import Evaluation
from ytf_torch.defences.outcome import Defence
from ytf_torch.defences.repairs.pruning import pruned_checkpoint, run_defence
from ytf_torch.demo.files import DemoFiles, demo_files
from ytf_torch.errors import InputError
from ytf_torch.images.arrays import ImagesInMemory, images_of
from ytf_torch.images.image_set import ImageSet, ImageSets
from ytf_torch.images.opening import open_images
from ytf_torch.metrics import Figures, Share
from ytf_torch.network.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from ytf_torch.network.compact import compact
from ytf_torch.network.deepid import DeepIDSizes, deepid, deepid_graph
from ytf_torch.network.graph import Graph
from ytf_torch.network.masking import ChannelMask, bake_mask
from ytf_torch.network.module import Network
from ytf_torch.network.preprocessing import Preprocessing
from ytf_torch.network.provenance import Provenance

# Aliases for older notebooks, from when all images were faces.
FaceSet = ImageSet
FaceSets = ImageSets
FacesInMemory = ImagesInMemory
faces_of = images_of
open_faces = open_images

__all__ = [
    "AuditResult",
    "ChannelMask",
    "Checkpoint",
    "Comparison",
    "DeepIDSizes",
    "Defence",
    "DemoFiles",
    "Detected",
    "Evaluated",
    "Evaluation",
    "Export",
    "FaceSet",
    "FaceSets",
    "FacesInMemory",
    "Figures",
    "GoodNet",
    "Graph",
    "ImageSet",
    "ImageSets",
    "ImagesInMemory",
    "InputError",
    "Network",
    "Preprocessing",
    "Provenance",
    "PruningDefence",
    "RepairResult",
    "Repaired",
    "ScanResult",
    "Share",
    "audit",
    "bake_mask",
    "compact",
    "compare",
    "deepid",
    "deepid_graph",
    "defend",
    "demo_files",
    "detect",
    "evaluate",
    "export",
    "faces_of",
    "images_of",
    "load_checkpoint",
    "notebook_bars",
    "open_faces",
    "open_images",
    "predict",
    "pruned_checkpoint",
    "read_keras_model",
    "read_model",
    "repair",
    "run_defence",
    "save_checkpoint",
    "scan",
    "wrap",
]
