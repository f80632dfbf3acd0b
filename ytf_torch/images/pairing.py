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
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from ytf_torch.images.thumbnails import (
    ROWS,
    block_hashes,
    image_hashes,
    texture,
    thumbnails,
)

UNPAIRED = -1
TEXTURE = 12
"""A block whose range of values is below this, in grey levels, is flat and not distinctive."""
ROUNDING = 1.5
"""Tolerance of equal blocks: root mean square difference in grey levels."""
FIT_TOLERANCE = 0.1
"""Additional tolerance if a pattern is fitted, as a share of the block's standard deviation."""
SAME, SAME_FITTED = 0.25, 0.5
"""Share of the distinctive blocks that must be equal, without and with a fitted pattern. A trigger
may cover the others."""
NEAR, CLEAR = 0.35, 0.5
"""A match without enough equal blocks: the median difference, in standard deviations, is at most
NEAR, and at most CLEAR times that of the second-best candidate."""
MIN_BLOCKS = 3
"""Distinctive blocks that an image needs to be matched by content."""
COVERED = 0.9
"""A block that is equal in at least this share of the triggered images belongs to the trigger."""
MIN_GAIN = 0.2
"""A block of lower fitted gain is covered by the pattern."""
MIN_CORRELATION = 0.5
"""Correlation of distinctive blocks from which an image agrees with the clean one at its index."""
MIN_AGREEING, MIN_IN_ORDER = 0.25, 0.9
"""Share of all triggered images, and of those that match any clean one, that must agree with the
one at their index before the remaining images are paired by index."""
MIN_NEAREST = 0.55
"""Share of the triggered images whose nearest clean image by colours must be the one at their index
before the others are paired by index: 0.65 for a warp of 2.2 pixels on average in faces of 55×47
pixels, at most 0.5 for other photos of the same people."""
MIN_EXCESS = 0.4
"""The same share beyond chance, of the images whose nearest clean image has the label of the one at
their index: `(hits - chance) / (images - chance)`. It is 0.64 for that warp, and 0.14 at most for
other photos of the same people in the same order, 2 to 10 of each."""
MIN_DISTINCT = 32
"""Distinct clean images below which their order is not inferred from colours."""
NEAR_SHARE = 0.02
"""Share of the clean images nearest by colours that must include the one at the same index: it does
for 99.8 % of the images under that warp, and for 2 % of foreign images."""
MIN_PAIRS = 8
"""With fewer images, the mean of a set depends more on its images than on a pattern over all."""
MIN_PAIRED = 0.5
"""Share of the triggered images that must be paired before figures are computed from the pairs."""
NEAREST = 4
"""Candidates for an image that shares no distinctive block with any clean one."""
MIN_RELATED = 0.1
"""Share of the images a pattern is fitted to that must match some clean one under it; of sets that
are unrelated, about a hundredth do."""
FITTED, ROUNDS = 1024, 4
"""Image pairs that a pattern is fitted to, and rounds of the fit; each round keeps the half with
the smallest residuals."""


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
    clean_blocks, triggered_blocks = thumbnails(clean), thumbnails(triggered)
    if clean_blocks.shape[1:] != triggered_blocks.shape[1:]:
        return Pairing(np.full(len(triggered_blocks), UNPAIRED))
    places = paired_places(clean_blocks, labels, triggered_blocks)
    elsewhere = (places != UNPAIRED) & (places != np.arange(len(places)))
    if elsewhere.any():
        places[elsewhere & _contradictory(clean_blocks, labels)[places]] = UNPAIRED
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
    match = _Match(clean, triggered, distinctive)
    paired = match.best(rows, np.stack([at_index, voted], 1))
    agree = paired == at_index
    unpaired = np.flatnonzero(paired == UNPAIRED)
    same_length = len(clean_hashes) == len(triggered_hashes)
    colours = None
    # If most are unpaired, a pattern over all images may have changed every block: fit it.
    if len(unpaired) > (1 - MIN_AGREEING) * len(triggered_hashes):
        colours = _Colours.of(match, unpaired, first, at_index, ~covered)
        fitted = _matched_by_pattern(match, unpaired, colours)
        if fitted is not None:
            match, paired[unpaired], agree[unpaired] = fitted
        same_length = same_length and colours.exceed_labels(labels, agree)
    if same_length and _in_order(agree, paired != UNPAIRED):
        unpaired = np.flatnonzero(paired == UNPAIRED)
        plausible = unpaired[match.is_plausible(unpaired, at_index[unpaired])]
        paired[plausible] = at_index[plausible]
    unpaired = np.flatnonzero(paired == UNPAIRED)
    too_few = len(unpaired) > (1 - MIN_PAIRED) * len(triggered_hashes)
    if same_length and colours is not None and too_few and colours.in_order(paired):
        near = unpaired[colours.is_near(unpaired)]
        paired[near] = at_index[near]
    # Of identical clean images, take the one at the same index instead of the first.
    same_index = (paired != UNPAIRED) & (paired == at_index)
    paired[same_index] = rows[same_index]
    return paired


@dataclass(frozen=True)
class _Match:
    """Compares triggered thumbnails with clean ones, by the distinctive blocks of the latter.

    clean, triggered: (images, blocks, channels, values). distinctive: (clean, blocks), bool.
    gain, offset: the fitted pattern, `triggered = gain · clean + offset`, (blocks, channels,
    values); None if no pattern was fitted.
    """

    clean: Tensor
    triggered: Tensor
    distinctive: Tensor
    gain: Tensor | None = None
    offset: Tensor | None = None

    def best(self, rows: NDArray[np.int64], candidates: NDArray[np.int64]) -> NDArray[np.int64]:
        """The candidate that each triggered thumbnail matches, (rows,), the first of equally good
        ones; UNPAIRED if it matches none.

        rows: indices of triggered thumbnails. candidates: (rows, candidates), indices of clean
        ones.
        """
        first = candidates[:, 0]
        scores = [self._compared(rows, first)]
        for column in candidates.T[1:]:
            other = np.flatnonzero(column != first)  # the scores of equal candidates are known
            shares, distances = (values.copy() for values in scores[0])
            shares[other], distances[other] = self._compared(rows[other], column[other])
            scores.append((shares, distances))
        shares, distances = (np.stack(parts, 1) for parts in zip(*scores, strict=True))
        if self.gain is None:
            best, same = shares.argmax(1)[:, None], shares >= SAME
        else:
            best = distances.argmin(1)[:, None]
            nearest = np.take_along_axis(candidates, best, 1)
            second = np.where(candidates == nearest, np.inf, distances).min(1, keepdims=True)
            clear = (distances <= CLEAR * second) & (distances <= NEAR)
            same = (shares >= SAME_FITTED) | clear
        places = np.take_along_axis(candidates, best, 1)
        return np.where(np.take_along_axis(same, best, 1), places, UNPAIRED)[:, 0]

    def _compared(
        self, rows: NDArray[np.int64], places: NDArray[np.int64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """For each triggered thumbnail and the clean one at `places`: the share of distinctive
        blocks that are equal, and the median difference of distinctive blocks in standard
        deviations, (rows,) each.

        With fewer than MIN_BLOCKS distinctive blocks the share is 0 and the difference infinite.
        The difference is computed only if a pattern is fitted.
        """
        shares, distances = np.zeros(len(rows)), np.full(len(rows), np.inf)
        for part in _parts(np.flatnonzero(places != UNPAIRED)):
            expected, distinctive = self._expected(places[part])
            difference = (expected - self.triggered[rows[part]]).square().mean((2, 3)).sqrt()
            count = distinctive.sum(1)
            sufficient = (count >= MIN_BLOCKS).numpy()
            if self.gain is None:
                equal = difference <= ROUNDING
            else:
                spread = _standard_deviation(expected)
                equal = difference <= ROUNDING / 2 + FIT_TOLERANCE * spread
                relative = (difference / (spread + 1)).masked_fill(~distinctive, np.nan)
                distances[part[sufficient]] = relative.nanmedian(1).values[sufficient].numpy()
            # The divisor's minimum requires MIN_BLOCKS equal blocks of an image that has few.
            share = (equal & distinctive).sum(1) / count.clamp(min=MIN_BLOCKS / SAME)
            shares[part[sufficient]] = share[sufficient].numpy()
        return shares, distances

    def _expected(self, places: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        """Clean thumbnails under the fitted pattern, and which of their blocks are distinctive."""
        pixels, distinctive = self.clean[places].float(), self.distinctive[places]
        if self.gain is None or self.offset is None:
            return pixels, distinctive
        return (self.gain * pixels + self.offset).clamp(0, 255), distinctive

    def correlated(self, rows: NDArray[np.int64], places: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Whether the correlation of each triggered thumbnail with the clean one at `places` is at
        least MIN_CORRELATION, (rows,).

        Set means are subtracted first, and with them most of a pattern over all images.
        """
        result = np.zeros(len(rows), bool)
        if not len(rows):
            return result
        means = [_mean(blocks) for blocks in (self.clean, self.triggered)]
        for part in _parts(np.flatnonzero(places != UNPAIRED)):
            distinctive = self.distinctive[places[part]][:, :, None, None]
            clean, triggered = (
                (blocks - mean - (blocks - mean).mean((2, 3), keepdim=True)) * distinctive
                for blocks, mean in zip(
                    (self.clean[places[part]], self.triggered[rows[part]]), means, strict=True
                )
            )
            correlation = F.cosine_similarity(clean.flatten(1), triggered.flatten(1))
            result[part] = (correlation >= MIN_CORRELATION).numpy()
        return result

    def is_plausible(self, rows: NDArray[np.int64], places: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Whether nothing contradicts pairing triggered thumbnails with the clean ones at `places`:
        too few blocks are distinctive, one of them is equal, or they are correlated, (rows,)."""
        too_few: NDArray[np.bool_] = (self.distinctive[places].sum(1) < MIN_BLOCKS).numpy()
        return too_few | (self._compared(rows, places)[0] > 0) | self.correlated(rows, places)

    def with_pattern(self, rows: NDArray[np.int64], places: NDArray[np.int64]) -> _Match:
        """This comparison with a pattern fitted to the pairs (rows, places), (pairs,) each.

        Trimmed least squares: each round keeps the half of the pairs with the smallest residuals,
        so that up to half of them may be wrong. Blocks that the pattern covers are no longer
        distinctive. Too few pairs give the identity, gain 1 and offset 0.
        """
        if len(rows) < MIN_PAIRS:
            return replace(self, gain=torch.tensor(1.0), offset=torch.tensor(0.0))
        clean, triggered = self.clean[places].float(), self.triggered[rows].float()
        kept = torch.arange(len(rows))
        for _ in range(ROUNDS):
            gain, offset = _least_squares(clean[kept], triggered[kept])
            residual = (gain * clean + offset - triggered).abs().mean((1, 2, 3))
            kept = residual.argsort()[: len(rows) // 2]
        covered = gain.mean((1, 2)) < MIN_GAIN
        return replace(self, gain=gain, offset=offset, distinctive=self.distinctive & ~covered)


@dataclass(frozen=True)
class _Colours:
    """Compares triggered thumbnails with distinct clean ones, by the mean colours of their blocks.

    clean, triggered: colours as unit vectors, (images, colours). first: the index of each distinct
    clean thumbnail, (clean,). at_index: for each triggered thumbnail the clean one at its index,
    (triggered,). rows: FITTED triggered thumbnails at most, evenly spaced. nearest: the nearest
    clean ones of these, (rows, NEAREST).
    """

    clean: Tensor
    triggered: Tensor
    first: NDArray[np.int64]
    at_index: NDArray[np.int64]
    rows: NDArray[np.int64]
    nearest: NDArray[np.int64]

    @classmethod
    def of(
        cls,
        match: _Match,
        rows: NDArray[np.int64],
        first: NDArray[np.int64],
        at_index: NDArray[np.int64],
        visible: NDArray[np.bool_],
    ) -> _Colours:
        """Compare the thumbnails of `match` by the visible blocks, which no trigger covers.

        rows: indices of triggered thumbnails to choose some from.
        """
        colours = _colours(match.clean[first], match.triggered, visible)
        some = rows[np.linspace(0, len(rows) - 1, min(len(rows), FITTED)).astype(int)]
        return cls(*colours, first, at_index, some, first[_nearest(*colours, some)])

    @property
    def hits(self) -> NDArray[np.bool_]:
        """Whether the nearest clean thumbnail is the one at the same index, (rows,)."""
        hits: NDArray[np.bool_] = self.nearest[:, 0] == self.at_index[self.rows]
        return hits

    def nearest_of(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """The NEAREST clean thumbnails of triggered ones, nearest first, (rows, NEAREST)."""
        if np.array_equal(rows, self.rows):
            return self.nearest
        return self.first[_nearest(self.clean, self.triggered, rows)]

    def exceed_labels(self, labels: NDArray[np.int64], agree: NDArray[np.bool_]) -> bool:
        """Whether more images agree with the clean one at their index than would if the nearest
        image of each were any image of the right label.

        labels: (clean,). agree: (triggered,), in addition to the hits. For sets of equal length.
        """
        hits, own = self.hits | agree[self.rows], labels[self.at_index[self.rows]]
        values, counts = np.unique(labels[self.first], return_counts=True)
        images = counts[np.searchsorted(values, own)]
        # A label with a single image provides no evidence.
        right_label = (hits | (labels[self.nearest[:, 0]] == own)) & (images > 1)
        chance = (right_label / images).sum()
        excess = (hits & right_label).sum() - chance
        return bool(excess >= MIN_EXCESS * (right_label.sum() - chance))

    def in_order(self, paired: NDArray[np.int64]) -> bool:
        """Whether the colours show that two sets of equal length have the same order.

        paired: the clean thumbnail of each triggered one that is matched by content, (triggered,),
        UNPAIRED for the others.
        """
        elsewhere = (paired != UNPAIRED) & (paired != self.at_index)
        return bool(
            len(self.first) >= MIN_DISTINCT
            and self.hits.mean() >= MIN_NEAREST
            and elsewhere.mean() <= 1 - MIN_IN_ORDER
        )

    def is_near(self, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Whether the clean thumbnail at the index of each triggered one is among the nearest,
        (rows,)."""
        order = self.first.argsort()
        column = order[np.searchsorted(self.first, self.at_index, sorter=order)]
        nearer = []
        for part in _parts(rows):
            similarity = self.triggered[part] @ self.clean.T
            own = similarity.gather(1, torch.from_numpy(column[part])[:, None])
            nearer.append((similarity > own).sum(1).numpy())
        near: NDArray[np.bool_] = np.concatenate(nearer) < max(
            NEAREST, NEAR_SHARE * len(self.first)
        )
        return near


def _matched_by_pattern(
    match: _Match, rows: NDArray[np.int64], colours: _Colours
) -> tuple[_Match, NDArray[np.int64], NDArray[np.bool_]] | None:
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


def _standard_deviation(blocks: Tensor) -> Tensor:
    """The root mean square over channels of the standard deviation of each block's values,
    (images, blocks).

    blocks: (images, blocks, channels, values). `Tensor.std` takes four times as long for so few
    values.
    """
    centred = blocks - blocks.mean(3, keepdim=True)
    variance = centred.square().sum((2, 3)) / (blocks.shape[3] - 1)
    return (variance / blocks.shape[2]).sqrt()


def _mean(blocks: Tensor) -> Tensor:
    """The exact mean over images, (blocks, channels, values), in float32."""
    # Whole numbers: a part's sum is exact in float32, and summing in int64 is slow.
    parts = [part.float().sum(0).to(torch.int64) for part in torch.split(blocks, ROWS)]
    return torch.stack(parts).sum(0).float() / len(blocks)


def _least_squares(clean: Tensor, triggered: Tensor) -> tuple[Tensor, Tensor]:
    """Gain and offset of `triggered ≈ gain · clean + offset`, for each value over all images."""
    clean_mean, triggered_mean = clean.mean(0), triggered.mean(0)
    variance = (clean - clean_mean).square().mean(0)
    # The minimum of 1 keeps values that hardly vary from an arbitrary gain.
    gain = ((clean - clean_mean) * (triggered - triggered_mean)).mean(0) / variance.clamp(min=1)
    return gain, triggered_mean - gain * clean_mean


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


def _colours(clean: Tensor, triggered: Tensor, visible: NDArray[np.bool_]) -> tuple[Tensor, Tensor]:
    """Mean colours of the visible blocks of clean and triggered thumbnails, (images, colours), as
    unit vectors.

    The mean of each set is subtracted first, and with it a pattern over all of its images.
    """
    colours = [
        torch.cat(
            [part.float().mean(3)[:, visible].flatten(1) for part in torch.split(blocks, ROWS)]
        )
        for blocks in (clean, triggered)
    ]
    means = [values.mean(0) for values in colours]
    if len(triggered) < MIN_PAIRS:
        means[1] = means[0]
    ours, theirs = (F.normalize(values - mean) for values, mean in zip(colours, means, strict=True))
    return ours, theirs


def _nearest(ours: Tensor, theirs: Tensor, rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """For these rows of `theirs`, the NEAREST of `ours` by cosine similarity, nearest first, (rows,
    NEAREST). ours, theirs: unit vectors, (images, values)."""
    count = min(NEAREST, len(ours))
    return np.concatenate([(theirs[part] @ ours.T).topk(count).indices for part in _parts(rows)])


def _parts(rows: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """Split into parts of ROWS, which bound the memory of a comparison."""
    return [rows[start : start + ROWS] for start in range(0, len(rows), ROWS)]


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
