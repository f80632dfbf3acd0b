"""BadNets of many kinds, to study defences on."""

# Here, so that a command can list them before PyTorch is loaded.
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
    "clean",
)
