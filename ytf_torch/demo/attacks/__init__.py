"""Backdoor attacks of several kinds, to evaluate defences on."""

# Listed here, so that a command can show them without importing PyTorch.
ATTACK_NAMES = (
    "sunglasses",
    "corner-patch",
    "square",
    "eyebrows",
    "blended",
    "sinusoid",
    "three-triggers",
    "all-to-all",
    "clean-label",
    "pruning-aware",
    "blended-face",
    "pasted-face",
    "scarf",
    "light",
    "bpp",
    "wanet",
    "low-frequency",
    "adaptive-blend",
    "adaptive-patch",
    "source-specific",
    "input-aware",
    "label-consistent",
    "clean",
)
