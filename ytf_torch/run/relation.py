"""Check whether B′ was derived from B: by recorded provenance, by similar weights (of a pruned or
fine-tuned copy), and by agreement on clean images.

A network trained from scratch, as by the recommended repair, has weights similar to no other. So
dissimilar weights alone are no reason to reject a pair.
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
"""One network counts as derived from another if the mean cosine similarity of their kernels is at
least this. It is 1 for a pruned copy, above 0.9 after fine-tuning, and within 0.15 of 0 for
networks trained independently."""
ALIKE = 0.2
"""Two networks know the same classes if Cohen's kappa of their predictions on clean images is above
this: agreement up to it is called slight (Landis and Koch, 1977). Kappa is 1 for equal predictions
and 0 for chance agreement, however few classes a network predicts."""
FEWEST_FACES = 20
"""With fewer clean images, chance alone moves kappa by more than ALIKE."""


def pair_fault(
    first: Checkpoint, second: Checkpoint, badnet: object, repaired: object
) -> str | None:
    """The reason why `second` cannot be a B′ of `first`, as a predicate about B′; None if it can.

    badnet, repaired: their names for messages. See also `unproven`.
    """
    ours, theirs = first.model.state_dict(), second.model.state_dict()
    if same_weights(first, second):
        return (
            f"holds the same weights as {badnet}; two equal networks never disagree, so nothing "
            "would ever be flagged"
        )
    history, history_after = first.provenance.history[1:], second.provenance.history[1:]
    same_source = first.provenance.source_sha256 == second.provenance.source_sha256
    if not same_source and not _related(ours, theirs):
        if not history_after:
            return None
        return (
            f"was made from another network than {badnet} ({_origin(second)}, not "
            f"{_origin(first)}); their disagreement says nothing about a trigger"
        )
    if history and history_after[: len(history)] != history:
        if history[: len(history_after)] == history_after:
            return f"looks like B, and {badnet} like B′ ({history[-1]}). They seem swapped"
        return (
            f"was not made from {badnet}: both were made from one network, that one "
            f"({history[-1]}) and this one ({history_after[-1]})"
        )
    made_from_first = same_source and len(history_after) > len(history)
    if not made_from_first and _live_channels(ours) < _live_channels(theirs):
        return (
            f"looks like B, and {badnet} like B′, for more of that one's channels are zero or cut "
            "out. They seem swapped"
        )
    return None


def unproven(first: Checkpoint, second: Checkpoint, badnet: object, repaired: object) -> str | None:
    """The warning where there is no evidence that B′ was derived from B; None where there is.

    Parameters as for pair_fault, which must have returned None.
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
    """The reason why B′ cannot be derived from B, judged by their predictions on clean images, as
    a predicate about B′; None if it can. first: B's name for messages.
    """
    answers = predictions([badnet, repaired], clean)
    if kappa(answers) > ALIKE:
        return None
    equal = int((answers[0] == answers[1]).sum())
    return (
        f"was made from another network than {first}: both give one answer for {equal:,} of the "
        f"{len(clean):,} clean faces in {clean.path}, no more than chance does, and their weights "
        "are unlike; their disagreement says nothing about a trigger"
    )


def kappa(answers: Tensor) -> float:
    """Cohen's kappa of two rows of predictions, (2, images): `(p_o − p_e) / (1 − p_e)`.

    p_o: observed agreement. p_e: agreement expected by chance. 0 where both rows are the same
    constant (p_e = 1), which is no evidence.

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
    """Whether two networks have equal weights, including their shapes."""
    ours, theirs = first.model.state_dict(), second.model.state_dict()
    return ours.keys() == theirs.keys() and all(
        torch.equal(tensor, theirs[name]) for name, tensor in ours.items()
    )


def _related(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> bool:
    """Whether one network was derived from the other, judged by the kernels of equal shape."""
    cosines = [
        F.cosine_similarity(kernel.flatten().double(), theirs[name].flatten().double(), dim=0)
        for name, kernel in ours.items()
        if name in theirs and kernel.ndim > 1 and kernel.shape == theirs[name].shape
    ]
    return bool(cosines) and float(torch.stack(cosines).mean()) >= RELATED


def _live_channels(state: dict[str, Tensor]) -> int:
    """Number of convolution channels with a non-zero kernel or bias."""
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
