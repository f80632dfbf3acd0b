"""Finds the clean image that each triggered image was made from, by content.

A triggered set is usually a clean test set with a trigger added. It may be in another order, lack
the target class, or be a part of the set; so images are matched by content, whatever their index:

1. Each image is reduced to a thumbnail of at most 32×32, which is split into blocks of 4×4.
2. A block of a clean image is distinctive if it has some texture and no other clean image has the
   same block at that position. This excludes borders, letterboxes and frames that images share.
   Positions whose block is the same in nearly all triggered images are excluded too: that is the
   trigger.
3. A triggered image matches a clean one if enough distinctive blocks are equal, as they are outside
   a patch; or if they are equal after a pattern over all triggered images (a blended trigger) is
   accounted for, by a least-squares fit `triggered = gain · clean + offset` for each value of a
   thumbnail.
4. If nearly all images of two sets match index by index, the few whose content is not sufficient
   (a blank image, one that is almost wholly covered) are paired by index.
5. A warp changes every block of an image, so that hardly any block matches. If fewer than half of
   the images are paired by now, two sets of equal length are compared by the mean colours of their
   blocks. If the clean image nearest by colours is the one at the same index for at least 55 % of
   the triggered images, the order is the same: an image is then paired by index if the clean image
   at its index is among the nearest 2 % (or 4). About 2 % of foreign images pass this by chance.

Other photos of the same people in the same order must not pass for triggered images in steps 4 and
5. Their nearest clean image is often one of the same person, but any of that person's. So, where
several clean images have one label, the one at the same index must be nearest far more often than
one chosen at random among them. With one clean image per label this cannot be determined, and such
a set may be paired by index. Nor can a warped image be told from the next frame of its video.

Any number of channels and any size. 12,830 images against as many: seconds, about 200 MB.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ytf_torch.images.same_blocks import MIN_PAIRS, BlockMatch
from ytf_torch.images.same_colours import Colours
from ytf_torch.images.thumbnails import (
    UNPAIRED,
    block_hashes,
    image_hashes,
    texture,
    thumbnails,
)

TEXTURE = 12
"""A block whose range of values is below this, in grey levels, is flat and not distinctive."""
COVERED = 0.9
"""A block that is equal in at least this share of the triggered images belongs to the trigger."""
MIN_AGREEING, MIN_IN_ORDER = 0.25, 0.9
"""Share of all triggered images, and of those that match any clean one, that must agree with the
one at their index before the remaining images are paired by index."""
MIN_PAIRED = 0.5
"""Share of the triggered images that must be paired before figures are computed from the pairs."""
MIN_RELATED = 0.1
"""Share of the images a pattern is fitted to that must match some clean one under it; of sets that
are unrelated, about a hundredth do."""


@dataclass(frozen=True, repr=False)
class Pairing:
    """The clean image that each triggered image was made from.

    places: (triggered,), int64, its index in the clean set, UNPAIRED (-1) if none was found.

    >>> Pairing(np.array([2, 0, UNPAIRED]))
    2 of 3 triggered images paired with a clean one
    """

    places: NDArray[np.int64]

    @property
    def paired(self) -> NDArray[np.bool_]:
        """Which triggered images are paired, (triggered,), bool."""
        paired: NDArray[np.bool_] = self.places != UNPAIRED
        return paired

    @property
    def pairs(self) -> int:
        """The number of triggered images that are paired."""
        return int(self.paired.sum())

    @property
    def is_enough(self) -> bool:
        """Whether enough images are paired to compute figures from the pairs."""
        return self.pairs > 0 and self.pairs >= MIN_PAIRED * len(self.places)

    @property
    def in_order(self) -> bool:
        """Whether every paired image has the index of its clean image."""
        return bool((self.places == np.arange(len(self.places)))[self.paired].all())

    @property
    def record(self) -> dict[str, int]:
        """The counts for result.json."""
        return {"paired": self.pairs, "triggered": len(self.places)}

    def __repr__(self) -> str:
        return f"{self.pairs:,} of {len(self.places):,} triggered images paired with a clean one"


def pair(
    clean: Iterable[Tensor], labels: NDArray[np.int64], triggered: Iterable[Tensor]
) -> Pairing:
    """Find the clean image that each triggered image was made from.

    clean, triggered: batches of pixels (batch, channels, height, width), 0–255.
    labels: (clean,). Equal clean images with different labels are paired by index or not at all,
    because the pair would not determine the true class.

    >>> pair([pixels], np.arange(24), [pixels.flip(0)]).places[:3]
    array([23, 22, 21])
    """
    return pair_thumbnails(thumbnails(clean), labels, thumbnails(triggered))


def pair_thumbnails(clean: Tensor, labels: NDArray[np.int64], triggered: Tensor) -> Pairing:
    """`pair`, from thumbnails (images, blocks, channels, values)."""
    if clean.shape[1:] != triggered.shape[1:]:
        return Pairing(np.full(len(triggered), UNPAIRED))
    places = paired_places(clean, labels, triggered)
    elsewhere = (places != UNPAIRED) & (places != np.arange(len(places)))
    if elsewhere.any():
        places[elsewhere & _contradictory(clean, labels)[places]] = UNPAIRED
    return Pairing(places)


def paired_places(clean: Tensor, labels: NDArray[np.int64], triggered: Tensor) -> NDArray[np.int64]:
    """The index of the clean thumbnail of each triggered one, (triggered,), or UNPAIRED.

    clean, triggered: thumbnails, (images, blocks, channels, values). labels: (clean,).
    """
    clean_hashes, triggered_hashes = block_hashes(clean), block_hashes(triggered)
    # Identical clean images are indistinguishable: all are represented by the first of them.
    # first: the index of each distinct image. group: which distinct image each image is.
    _, first, group = np.unique(image_hashes(clean_hashes), return_index=True, return_inverse=True)
    several = len(triggered_hashes) >= MIN_PAIRS
    covered = np.array(
        [several and _most_common(column) >= COVERED for column in triggered_hashes.T]
    )
    unique = np.stack([_occurs_once(column) for column in clean_hashes[first].T], 1)
    distinctive = torch.from_numpy(unique & ~covered)[group] & (texture(clean) >= TEXTURE)

    # Candidates by index, then by the number of equal blocks.
    at_index = np.full(len(triggered_hashes), UNPAIRED)
    common = min(len(clean_hashes), len(triggered_hashes))
    at_index[:common] = first[group[:common]]
    voted = _with_most_equal_blocks(clean_hashes, triggered_hashes, first, distinctive)
    rows = np.arange(len(triggered_hashes))
    match = BlockMatch(clean, triggered, distinctive)
    paired = match.best(rows, np.stack([at_index, voted], 1))
    agree = paired == at_index
    unpaired = np.flatnonzero(paired == UNPAIRED)
    may_be_ordered = len(clean_hashes) == len(triggered_hashes)
    colours = None
    # If most are unpaired, a pattern over all images may have changed every block: fit it.
    if len(unpaired) > (1 - MIN_AGREEING) * len(triggered_hashes):
        colours = Colours.of(match, unpaired, first, at_index, ~covered)
        fitted = _matched_by_pattern(match, unpaired, colours)
        if fitted is not None:
            match, paired[unpaired], agree[unpaired] = fitted
        may_be_ordered = may_be_ordered and colours.exceed_labels(labels, agree)
    if may_be_ordered and _in_order(agree, paired != UNPAIRED):
        unpaired = np.flatnonzero(paired == UNPAIRED)
        plausible = unpaired[match.is_plausible(unpaired, at_index[unpaired])]
        paired[plausible] = at_index[plausible]
    unpaired = np.flatnonzero(paired == UNPAIRED)
    too_few = len(unpaired) > (1 - MIN_PAIRED) * len(triggered_hashes)
    if may_be_ordered and colours is not None and too_few and colours.in_order(paired):
        near = unpaired[colours.is_near(unpaired)]
        paired[near] = at_index[near]
    # Of identical clean images, take the one at the same index instead of the first.
    same_index = (paired != UNPAIRED) & (paired == at_index)
    paired[same_index] = rows[same_index]
    return paired


def _matched_by_pattern(
    match: BlockMatch, rows: NDArray[np.int64], colours: Colours
) -> tuple[BlockMatch, NDArray[np.int64], NDArray[np.bool_]] | None:
    """Match triggered thumbnails under a pattern that is fitted to some of them: the comparison
    with the pattern, the clean thumbnail of each row, and which of them agree with the one at their
    index. None where nearly none of those match.

    rows: indices of triggered thumbnails, which contain `colours.rows`.
    """
    pattern = match.with_pattern(colours.rows, colours.nearest[:, 0])

    def matched(rows: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        nearest, index = colours.nearest_of(rows), colours.at_index[rows]
        places = pattern.best(rows, np.column_stack([index, nearest]))
        correlated = (nearest[:, 0] == index) & pattern.correlated(rows, index)
        return places, (places == index) | correlated

    places, agree = matched(colours.rows)
    if ((places != UNPAIRED) | agree).mean() < MIN_RELATED:
        return None
    return pattern, *(matched(rows) if len(colours.rows) < len(rows) else (places, agree))


def _in_order(agree: NDArray[np.bool_], paired: NDArray[np.bool_]) -> bool:
    """Whether two sets have the same order. agree: which triggered images agree with the clean one
    at their index. paired: which are paired with any."""
    return bool(
        agree.mean() >= MIN_AGREEING and agree.sum() >= MIN_IN_ORDER * (agree | paired).sum()
    )


def _with_most_equal_blocks(
    clean: NDArray[np.int64],
    triggered: NDArray[np.int64],
    candidates: NDArray[np.int64],
    distinctive: Tensor,
) -> NDArray[np.int64]:
    """The candidate that has the most distinctive blocks in common with each triggered thumbnail,
    (triggered,), or UNPAIRED.

    clean, triggered: block hashes, (images, blocks). candidates: indices of clean thumbnails.
    """
    votes: list[NDArray[np.int64]] = []
    is_distinctive = distinctive.numpy()
    for block in range(clean.shape[1]):
        voters = candidates[is_distinctive[candidates, block]]
        if len(voters):
            # Look up each triggered hash among the sorted hashes of this block position. They are
            # unique, as blocks that occur twice are not distinctive.
            order = voters[clean[voters, block].argsort()]
            at = np.searchsorted(clean[order, block], triggered[:, block]).clip(max=len(order) - 1)
            rows = np.flatnonzero(clean[order[at], block] == triggered[:, block])
            votes.append(rows * len(clean) + order[at[rows]])  # (row, candidate) as one number
    winners = np.full(len(triggered), UNPAIRED)
    pairs, counts = np.unique(np.concatenate([np.empty(0, int), *votes]), return_counts=True)
    by_count = pairs[counts.argsort(kind="stable")]
    # Written in ascending order of votes: the last candidate written for a row has the most.
    winners[by_count // len(clean)] = by_count % len(clean)
    return winners


def _most_common(numbers: NDArray[np.int64]) -> float:
    """The relative frequency of the most common number."""
    return float(np.unique(numbers, return_counts=True)[1].max() / len(numbers))


def _occurs_once(numbers: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which numbers occur exactly once, (numbers,), bool."""
    _, which, counts = np.unique(numbers, return_inverse=True, return_counts=True)
    once: NDArray[np.bool_] = counts[which] == 1
    return once


def _contradictory(clean: Tensor, labels: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which clean images have an identical one with another label, (clean,), bool."""
    _, group = np.unique(image_hashes(block_hashes(clean)), return_inverse=True)
    labelled = np.unique(np.stack([group, labels]), axis=1)
    contradictory: NDArray[np.bool_] = (np.bincount(labelled[0]) > 1)[group]
    return contradictory
