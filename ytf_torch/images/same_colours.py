"""Compares thumbnails by the mean colours of their blocks, which a warp hardly changes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from ytf_torch.images.same_blocks import MIN_PAIRS, BlockMatch
from ytf_torch.images.thumbnails import ROWS, UNPAIRED, parts

MIN_NEAREST = 0.55
"""Share of the triggered images whose nearest clean image by colours must be the one at their index
before the others are paired by index: 0.65 for a warp of 2.2 pixels on average in faces of 55×47
pixels, at most 0.5 for other photos of the same people."""
MIN_EXCESS = 0.4
"""The same share beyond chance, of the images whose nearest clean image has the label of the one at
their index: `(hits - chance) / (images - chance)`. It is 0.64 for that warp, and 0.14 at most for
other photos of the same people in the same order, 2 to 10 of each."""
MAX_ELSEWHERE = 0.1
"""Share of the triggered images that may match a clean one at another index by content."""
MIN_DISTINCT = 32
"""Distinct clean images below which their order is not inferred from colours."""
NEAR_SHARE = 0.02
"""Share of the clean images nearest by colours that must include the one at the same index: it does
for 99.8 % of the images under that warp, and for 2 % of foreign images."""
NEAREST = 4
"""Candidates for an image that shares no distinctive block with any clean one."""
FITTED = 1024
"""Image pairs that a pattern is fitted to, and the order is judged by."""


@dataclass(frozen=True)
class Colours:
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
        match: BlockMatch,
        rows: NDArray[np.int64],
        first: NDArray[np.int64],
        at_index: NDArray[np.int64],
        visible: NDArray[np.bool_],
    ) -> Colours:
        """Compare the thumbnails of `match` by the visible blocks, which no trigger covers.

        rows: indices of triggered thumbnails to choose some from.
        """
        colours = _unit_colours(match.clean[first], match.triggered, visible)
        some = rows[np.linspace(0, len(rows) - 1, min(len(rows), FITTED)).astype(int)]
        return cls(*colours, first, at_index, some, first[_most_similar(*colours, some)])

    @property
    def hits(self) -> NDArray[np.bool_]:
        """Whether the nearest clean thumbnail is the one at the same index, (rows,)."""
        hits: NDArray[np.bool_] = self.nearest[:, 0] == self.at_index[self.rows]
        return hits

    def nearest_of(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """The NEAREST clean thumbnails of triggered ones, nearest first, (rows, NEAREST)."""
        if np.array_equal(rows, self.rows):
            return self.nearest
        return self.first[_most_similar(self.clean, self.triggered, rows)]

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
            and elsewhere.mean() <= MAX_ELSEWHERE
        )

    def is_near(self, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Whether the clean thumbnail at the index of each triggered one is among the nearest,
        (rows,)."""
        order = self.first.argsort()
        column = order[np.searchsorted(self.first, self.at_index, sorter=order)]
        nearer = []
        for part in parts(rows):
            similarity = self.triggered[part] @ self.clean.T
            own = similarity.gather(1, torch.from_numpy(column[part])[:, None])
            nearer.append((similarity > own).sum(1).numpy())
        near: NDArray[np.bool_] = np.concatenate(nearer) < max(
            NEAREST, NEAR_SHARE * len(self.first)
        )
        return near


def _unit_colours(
    clean: Tensor, triggered: Tensor, visible: NDArray[np.bool_]
) -> tuple[Tensor, Tensor]:
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


def _most_similar(ours: Tensor, theirs: Tensor, rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """For these rows of `theirs`, the NEAREST of `ours` by cosine similarity, nearest first, (rows,
    NEAREST). ours, theirs: unit vectors, (images, values)."""
    count = min(NEAREST, len(ours))
    return np.concatenate([(theirs[part] @ ours.T).topk(count).indices for part in parts(rows)])
