"""Whether B′ was made from B: told by provenance where it is kept, by the weights of a copy that
was pruned or fine-tuned, and by the answers to clean faces.

A network that was trained anew, as the recommended repair trains one, has weights like no other. So
unlike weights alone refuse nothing.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from ytf_torch.defences.evaluation import predictions
from ytf_torch.images.image_set import ImageSet
from ytf_torch.network.checkpoint import Checkpoint
from ytf_torch.network.module import Network

RELATED = 0.3
"""One network counts as made from another where the mean cosine between their kernels is at least
this. It is 1 for a pruned copy, above 0.9 after fine-tuning, and within 0.15 of 0 for networks
trained apart."""
ALIKE = 0.2
"""Two networks know the same people where Cohen's kappa of their answers to clean faces is above
this: agreement up to it is called slight (Landis and Koch, 1977). Kappa is 1 for equal answers, and
0 for as many equal ones as chance gives, however few classes a network answers."""
FEWEST_FACES = 20
"""With fewer clean faces chance alone moves kappa by more than ALIKE."""


def pair_fault(
    first: Checkpoint, second: Checkpoint, badnet: object, repaired: object
) -> str | None:
    """Why these two are no B and B′, as the rest of a sentence about B′; None where they may be.

    badnet, repaired: what to call them. See unproven too.
    """
    ours, theirs = first.model.state_dict(), second.model.state_dict()
    if same_weights(first, second):
        return (
            f"holds the same weights as {badnet}; two equal networks never disagree, so nothing "
            "would ever be flagged"
        )
    done, done_after = first.provenance.history[1:], second.provenance.history[1:]
    same_source = first.provenance.source_sha256 == second.provenance.source_sha256
    if not same_source and not _related(ours, theirs):
        if not done_after:
            return None
        return (
            f"was made from another network than {badnet} ({_origin(second)}, not "
            f"{_origin(first)}); their disagreement says nothing about a trigger"
        )
    if done and done_after[: len(done)] != done:
        if done[: len(done_after)] == done_after:
            return f"looks like B, and {badnet} like B′ ({done[-1]}). They seem swapped"
        return (
            f"was not made from {badnet}: both were made from one network, that one "
            f"({done[-1]}) and this one ({done_after[-1]})"
        )
    made_from_first = same_source and len(done_after) > len(done)
    if not made_from_first and _live_channels(ours) < _live_channels(theirs):
        return (
            f"looks like B, and {badnet} like B′, for more of that one's channels are zero or cut "
            "out. They seem swapped"
        )
    return None


def unproven(first: Checkpoint, second: Checkpoint, badnet: object, repaired: object) -> str | None:
    """The warning where nothing tells whether B′ was made from B; None where something does.

    Like pair_fault, which has found none.
    """
    if first.provenance.source_sha256 == second.provenance.source_sha256:
        return None
    if second.provenance.history[1:] or _related(
        first.model.state_dict(), second.model.state_dict()
    ):
        return None
    return (
        f"{repaired} may be of another network than {badnet}: its weights are unlike, as they are "
        "after training anew, and the file does not tell what it was made from. If it is, their "
        "disagreement says nothing about a trigger; clean faces that both know would tell."
    )


def answers_fault(badnet: Network, repaired: Network, clean: ImageSet, first: object) -> str | None:
    """Why B′ cannot have been made from B, judged by their answers to clean faces, as the rest of a
    sentence about B′; None where it may have been. first: B's name.
    """
    answers = predictions([badnet, repaired], clean)
    if kappa(answers) > ALIKE:
        return None
    same = int((answers[0] == answers[1]).sum())
    return (
        f"was made from another network than {first}: both give one answer for {same:,} of the "
        f"{len(clean):,} clean faces in {clean.path}, no more than chance does, and their weights "
        "are unlike; their disagreement says nothing about a trigger"
    )


def kappa(answers: Tensor) -> float:
    """Cohen's kappa of two rows of classes, (2, images); 0 where both are one and the same class
    for all images, which tells nothing.

    >>> kappa(torch.tensor([[0, 0, 1, 1], [0, 0, 1, 0]]))
    0.5
    """
    first, second = answers
    agreeing = float((first == second).double().mean())
    shares = [
        torch.bincount(row, minlength=int(answers.max()) + 1).double() / len(row) for row in answers
    ]
    chance = float((shares[0] * shares[1]).sum())
    return 0.0 if chance == 1 else (agreeing - chance) / (1 - chance)


def same_weights(first: Checkpoint, second: Checkpoint) -> bool:
    """Whether two networks hold the same weights, shapes included."""
    ours, theirs = first.model.state_dict(), second.model.state_dict()
    return ours.keys() == theirs.keys() and all(
        torch.equal(tensor, theirs[name]) for name, tensor in ours.items()
    )


def _related(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> bool:
    """Whether one network was made from the other, judged by the kernels that have one shape."""
    cosines = [
        F.cosine_similarity(kernel.flatten().double(), theirs[name].flatten().double(), dim=0)
        for name, kernel in ours.items()
        if name in theirs and kernel.ndim > 1 and kernel.shape == theirs[name].shape
    ]
    return bool(cosines) and float(torch.stack(cosines).mean()) >= RELATED


def _live_channels(state: dict[str, Tensor]) -> int:
    """Channels of convolutions whose kernel or bias is not zero."""
    return sum(
        int(_live(kernel, state.get(f"{name.removesuffix('weight')}bias")).sum())
        for name, kernel in state.items()
        if kernel.ndim == 4
    )


def _live(kernel: Tensor, bias: Tensor | None) -> Tensor:
    """Which channels of a convolution, (channels,), are not zero. A transposed one, whose
    kernel has its inputs first, is judged by that alone."""
    live = (kernel.flatten(1) != 0).any(1)
    return live if bias is None or bias.shape != live.shape else live | (bias != 0)


def _origin(checkpoint: Checkpoint) -> str:
    provenance = checkpoint.provenance
    return f"{provenance.source_file} of SHA-256 {provenance.source_sha256[:8]}…"
