"""Which clean picture each triggered picture was made from, judged by what is on them.

Triggered sets are usually a clean test set with a trigger on. They may have another order, lack the
target's own pictures, or hold a part only; so pictures are paired by content, wherever they stand:

1. Each picture is reduced to a thumbnail of at most 32×32, and that is cut into blocks of 4×4.
2. Blocks that tell a clean picture from others have some texture, and no other clean picture has
   the same block there. Shared borders, letterboxes and frames tell nothing, nor do blocks that are
   the same in nearly all triggered pictures.
3. Two pictures are one where enough of the telling blocks are equal, as they are around a patch;
   or equal once the pattern that lies over all triggered pictures is accounted for, by a fit of
   triggered = gain · clean + offset for each value of a thumbnail.
4. Where nearly all pictures of two sets agree place by place, the few that content cannot tell (a
   blank picture, one that is covered almost wholly) are paired by their place.

Channels and size do not matter. 12,830 faces against as many: seconds, some 200 MB.
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
    block_numbers,
    picture_numbers,
    texture,
    thumbnails,
)

UNPAIRED = -1
TEXTURE = 12
"""Grey levels of texture below which a block counts as flat."""
ROUNDING = 1.5
"""Grey levels, root mean square, by which equal blocks may differ."""
SPARE = 0.1
"""By what share of their standard deviation they may differ besides, where a pattern is fitted."""
SAME, SAME_FITTED = 0.25, 0.5
"""Share of the telling blocks that must be equal. A trigger may cover the others."""
NEAR, CLEAR = 0.35, 0.5
"""Or how far blocks may be apart, in standard deviations, and as against the next best picture."""
FEWEST_BLOCKS = 3
COVERED = 0.9
"""Share of the triggered pictures with one block in common from which it is the trigger's."""
FAINT = 0.2
"""Gain of a block below which the pattern over it covers it."""
ALIKE = 0.5
"""Correlation with the telling blocks of the picture at its place from which one agrees with it."""
SOME, IN_ORDER = 0.25, 0.9
"""Share of pictures, and of those that agree with any, that must agree with the one at their place
before others are paired by place."""
FEWEST_PAIRS = 8
"""With fewer, the mean of a set says more of its pictures than of a pattern laid over all."""
ENOUGH = 0.5
"""Share of the triggered pictures that must be paired before figures are based on the pairs."""
NEAREST = 4
"""Clean pictures that are tried for one of which no block is in any."""
FITTED, ROUNDS = 1024, 4
"""Pictures to fit a pattern with; rounds, each with the half that the last one fits best."""


@dataclass(frozen=True, repr=False)
class Pairing:
    """The clean picture of each triggered one.

    places: (triggered,), its place in the clean set, UNPAIRED where none was found.

    >>> Pairing(np.array([2, 0, UNPAIRED]))
    2 of 3 triggered images paired with a clean one
    """

    places: NDArray[np.int64]

    @property
    def paired(self) -> NDArray[np.bool_]:
        """Which triggered pictures have a clean one, (triggered,)."""
        paired: NDArray[np.bool_] = self.places != UNPAIRED
        return paired

    @property
    def pairs(self) -> int:
        """How many have one."""
        return int(self.paired.sum())

    @property
    def is_enough(self) -> bool:
        """Whether figures may be based on the pairs."""
        return self.pairs > 0 and self.pairs >= ENOUGH * len(self.places)

    @property
    def in_order(self) -> bool:
        """Whether every one that is paired stands at the place of its clean one."""
        return bool((self.places == np.arange(len(self.places)))[self.paired].all())

    @property
    def record(self) -> dict[str, int]:
        """The counts, as they are written to result.json."""
        return {"paired": self.pairs, "triggered": len(self.places)}

    def __repr__(self) -> str:
        return f"{self.pairs:,} of {len(self.places):,} triggered images paired with a clean one"


def pair(
    clean: Iterable[Tensor], labels: NDArray[np.int64], triggered: Iterable[Tensor]
) -> Pairing:
    """Find the clean picture that each triggered one was made from.

    clean, triggered: pixels (images, channels, height, width), 0–255, some pictures at a time.
    labels: (clean,); equal clean pictures with different labels are paired by place or not at all.

    >>> pair([pixels], np.arange(24), [pixels.flip(0)]).places[:3]
    array([23, 22, 21])
    """
    ours, theirs = thumbnails(clean), thumbnails(triggered)
    if ours.shape[1:] != theirs.shape[1:]:
        return Pairing(np.full(len(theirs), UNPAIRED))
    places = paired_places(ours, theirs)
    moved = (places != UNPAIRED) & (places != np.arange(len(places)))
    if moved.any():
        places[moved & _contradictory(ours, labels)[places]] = UNPAIRED
    return Pairing(places)


def paired_places(clean: Tensor, triggered: Tensor) -> NDArray[np.int64]:
    """The place among clean thumbnails of each triggered one, (triggered,), or UNPAIRED."""
    ours, theirs = block_numbers(clean), block_numbers(triggered)
    # Equal clean pictures count as one, the first: they cannot be told apart.
    _, first, group = np.unique(picture_numbers(ours), return_index=True, return_inverse=True)
    several = len(theirs) >= FEWEST_PAIRS
    covered = np.array([several and _most_common(column) >= COVERED for column in theirs.T])
    rare = np.stack([_occurs_once(column) for column in ours[first].T], 1)
    telling = torch.from_numpy(rare & ~covered)[group] & (texture(clean) >= TEXTURE)

    at_place = np.full(len(theirs), UNPAIRED)
    common = min(len(ours), len(theirs))
    at_place[:common] = first[group[:common]]
    voted = _with_most_equal_blocks(ours, theirs, first, telling)
    everyone = np.arange(len(theirs))
    match = _Match(clean, triggered, telling)
    found = match.best(everyone, np.stack([at_place, voted], 1))
    agree = found == at_place
    left = np.flatnonzero(found == UNPAIRED)
    if len(left) > (1 - SOME) * len(theirs):  # a pattern may lie over all pictures
        nearest = first[_nearest(clean[first], triggered, left, ~covered)]
        match = match.with_pattern(left, nearest[:, 0])
        found[left] = match.best(left, np.column_stack([at_place[left], nearest]))
        agree = found == at_place
        agree[left] |= (nearest[:, 0] == at_place[left]) & match.alike(left, at_place[left])
    if len(ours) == len(theirs) and _in_order(agree, found != UNPAIRED):
        left = np.flatnonzero(found == UNPAIRED)
        kept = left[match.may_be(left, at_place[left])]
        found[kept] = at_place[kept]
    own = (found != UNPAIRED) & (found == at_place)
    found[own] = everyone[own]
    return found


@dataclass(frozen=True)
class _Match:
    """Whether triggered thumbnails show clean ones, judged by the telling blocks of these.

    telling: (clean, blocks). gain, offset: what makes clean values triggered ones, (blocks,
    channels, values); None where nothing lies over all pictures.
    """

    clean: Tensor
    triggered: Tensor
    telling: Tensor
    gain: Tensor | None = None
    offset: Tensor | None = None

    def best(self, rows: NDArray[np.int64], candidates: NDArray[np.int64]) -> NDArray[np.int64]:
        """Of the candidates for each triggered thumbnail, (rows, candidates), the one it shows, the
        first of several; UNPAIRED where it shows none of them, (rows,)."""
        first = candidates[:, 0]
        found = [self._compared(rows, first)]
        for column in candidates.T[1:]:
            other = np.flatnonzero(column != first)  # the rest is known already
            shares, distances = (known.copy() for known in found[0])
            shares[other], distances[other] = self._compared(rows[other], column[other])
            found.append((shares, distances))
        shares, distances = (np.stack(parts, 1) for parts in zip(*found, strict=True))
        if self.gain is None:
            best, same = shares.argmax(1)[:, None], shares >= SAME
        else:
            best = distances.argmin(1)[:, None]
            nearest = np.take_along_axis(candidates, best, 1)
            others = np.where(candidates == nearest, np.inf, distances).min(1, keepdims=True)
            clear = (distances <= CLEAR * others) & (distances <= NEAR)
            same = (shares >= SAME_FITTED) | clear
        places = np.take_along_axis(candidates, best, 1)
        return np.where(np.take_along_axis(same, best, 1), places, UNPAIRED)[:, 0]

    def _compared(
        self, rows: NDArray[np.int64], places: NDArray[np.int64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The share of telling blocks that are equal, and, where a pattern is fitted, the median of
        how far they are apart, in standard deviations: (rows,) each; 0 and infinite where too few
        tell."""
        shares, distances = np.zeros(len(rows)), np.full(len(rows), np.inf)
        for part in _parts(np.flatnonzero(places != UNPAIRED)):
            expected, telling = self._expected(places[part])
            apart = (expected - self.triggered[rows[part]]).square().mean((2, 3)).sqrt()
            count = telling.sum(1)
            known = (count >= FEWEST_BLOCKS).numpy()
            if self.gain is None:  # then nobody asks how far they are apart
                equal = apart <= ROUNDING
            else:
                spread = expected.std(3).square().mean(2).sqrt()
                equal = apart <= ROUNDING / 2 + SPARE * spread
                relative = (apart / (spread + 1)).masked_fill(~telling, np.nan)
                distances[part[known]] = relative.nanmedian(1).values[known].numpy()
            share = (equal & telling).sum(1) / count.clamp(min=FEWEST_BLOCKS / SAME)
            shares[part[known]] = share[known].numpy()
        return shares, distances

    def _expected(self, places: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        """What clean thumbnails look like under the pattern, and which blocks of them tell."""
        pixels, telling = self.clean[places].float(), self.telling[places]
        if self.gain is None or self.offset is None:
            return pixels, telling
        return (self.gain * pixels + self.offset).clamp(0, 255), telling

    def alike(self, rows: NDArray[np.int64], places: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Whether triggered thumbnails correlate with the clean ones at these places, (rows,)."""
        found = np.zeros(len(rows), bool)
        middles = [
            of_set.sum(0, dtype=torch.int64).float() / len(of_set)
            for of_set in (self.clean, self.triggered)
        ]
        for part in _parts(np.flatnonzero(places != UNPAIRED)):
            telling = self.telling[places[part]][:, :, None, None]
            one, other = (
                (blocks - middle - (blocks - middle).mean((2, 3), keepdim=True)) * telling
                for blocks, middle in zip(
                    (self.clean[places[part]], self.triggered[rows[part]]), middles, strict=True
                )
            )
            correlation = F.cosine_similarity(one.flatten(1), other.flatten(1))
            found[part] = (correlation >= ALIKE).numpy()
        return found

    def may_be(self, rows: NDArray[np.int64], places: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Whether nothing speaks against triggered thumbnails showing the clean ones at these
        places: too few blocks tell, some is equal, or they are alike, (rows,)."""
        untold: NDArray[np.bool_] = (self.telling[places].sum(1) < FEWEST_BLOCKS).numpy()
        return untold | (self._compared(rows, places)[0] > 0) | self.alike(rows, places)

    def with_pattern(self, rows: NDArray[np.int64], places: NDArray[np.int64]) -> _Match:
        """The same with the pattern that makes clean thumbnails triggered ones, fitted by least
        squares; half of the pairs may be wrong. Blocks that it covers tell nothing."""
        if len(rows) < FEWEST_PAIRS:
            return replace(self, gain=torch.tensor(1.0), offset=torch.tensor(0.0))
        chosen = np.linspace(0, len(rows) - 1, min(len(rows), FITTED)).astype(int)
        one, other = self.clean[places[chosen]].float(), self.triggered[rows[chosen]].float()
        kept = torch.arange(len(chosen))
        for _ in range(ROUNDS):
            gain, offset = _least_squares(one[kept], other[kept])
            apart = (gain * one + offset - other).abs().mean((1, 2, 3))
            kept = apart.argsort()[: len(chosen) // 2]
        faint = gain.mean((1, 2)) < FAINT
        return replace(self, gain=gain, offset=offset, telling=self.telling & ~faint)


def _in_order(agree: NDArray[np.bool_], paired: NDArray[np.bool_]) -> bool:
    """Whether two sets have one order. agree: which triggered pictures agree with the clean one at
    their place; paired: which are paired with any."""
    return bool(agree.mean() >= SOME and agree.sum() >= IN_ORDER * (agree | paired).sum())


def _least_squares(one: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
    """Gain and offset that make `one` `other`, for each value over all pictures."""
    middle, aim = one.mean(0), other.mean(0)
    spread = (one - middle).square().mean(0)
    gain = ((one - middle) * (other - aim)).mean(0) / spread.clamp(min=1)
    return gain, aim - gain * middle


def _with_most_equal_blocks(
    ours: NDArray[np.int64],
    theirs: NDArray[np.int64],
    candidates: NDArray[np.int64],
    telling: Tensor,
) -> NDArray[np.int64]:
    """The clean thumbnail that has the most telling blocks in common with each triggered one,
    (triggered,). ours, theirs: block numbers. candidates: the clean thumbnails to choose from."""
    votes: list[NDArray[np.int64]] = []
    known = telling.numpy()
    for block in range(ours.shape[1]):
        told = candidates[known[candidates, block]]
        if len(told):
            order = told[ours[told, block].argsort()]
            at = np.searchsorted(ours[order, block], theirs[:, block]).clip(max=len(order) - 1)
            rows = np.flatnonzero(ours[order[at], block] == theirs[:, block])
            votes.append(rows * len(ours) + order[at[rows]])
    found = np.full(len(theirs), UNPAIRED)
    pairs, counts = np.unique(np.concatenate([np.empty(0, int), *votes]), return_counts=True)
    by_count = pairs[counts.argsort(kind="stable")]
    found[by_count // len(ours)] = by_count % len(ours)  # the last one written has the most
    return found


def _nearest(
    clean: Tensor, triggered: Tensor, rows: NDArray[np.int64], visible: NDArray[np.bool_]
) -> NDArray[np.int64]:
    """The clean thumbnails that are most like triggered ones in the colours of their visible
    blocks, the most alike first: (rows, NEAREST). The mean of each set is taken away first, and
    with it whatever lies over all of its pictures."""
    colours = [
        torch.cat(
            [part.float().mean(3)[:, visible].flatten(1) for part in torch.split(of_set, ROWS)]
        )
        for of_set in (clean, triggered)
    ]
    middles = [of_set.mean(0) for of_set in colours]
    if len(triggered) < FEWEST_PAIRS:
        middles[1] = middles[0]
    one, other = (F.normalize(c - middle) for c, middle in zip(colours, middles, strict=True))
    count = min(NEAREST, len(one))
    return np.concatenate([(other[part] @ one.T).topk(count).indices for part in _parts(rows)])


def _parts(rows: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    return [rows[start : start + ROWS] for start in range(0, len(rows), ROWS)]


def _most_common(numbers: NDArray[np.int64]) -> float:
    """The share of the most common number."""
    return float(np.unique(numbers, return_counts=True)[1].max() / len(numbers))


def _occurs_once(numbers: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which numbers no other equals."""
    _, which, counts = np.unique(numbers, return_inverse=True, return_counts=True)
    once: NDArray[np.bool_] = counts[which] == 1
    return once


def _contradictory(clean: Tensor, labels: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which clean pictures have an equal one with another label, (clean,)."""
    _, picture = np.unique(picture_numbers(block_numbers(clean)), return_inverse=True)
    labelled = np.unique(np.stack([picture, labels]), axis=1)
    contradictory: NDArray[np.bool_] = (np.bincount(labelled[0]) > 1)[picture]
    return contradictory
