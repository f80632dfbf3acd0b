"""Compares thumbnails by their distinctive blocks, also under a pattern over all images."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from ytf_torch.images.thumbnails import ROWS, UNPAIRED, parts

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
MIN_GAIN = 0.2
"""A block of lower fitted gain is covered by the pattern."""
MIN_CORRELATION = 0.5
"""Correlation of distinctive blocks from which an image agrees with the clean one at its index."""
MIN_PAIRS = 8
"""With fewer images, the mean of a set depends more on its images than on a pattern over all."""
ROUNDS = 4
"""Rounds of the fit of a pattern; each keeps the half of the pairs with the smallest residuals."""


@dataclass(frozen=True)
class BlockMatch:
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
        shares, distances = (np.stack(values, 1) for values in zip(*scores, strict=True))
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
        for part in parts(np.flatnonzero(places != UNPAIRED)):
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
        for part in parts(np.flatnonzero(places != UNPAIRED)):
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

    def with_pattern(self, rows: NDArray[np.int64], places: NDArray[np.int64]) -> BlockMatch:
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
    sums = [part.float().sum(0).to(torch.int64) for part in torch.split(blocks, ROWS)]
    return torch.stack(sums).sum(0).float() / len(blocks)


def _least_squares(clean: Tensor, triggered: Tensor) -> tuple[Tensor, Tensor]:
    """Gain and offset of `triggered ≈ gain · clean + offset`, for each value over all images."""
    clean_mean, triggered_mean = clean.mean(0), triggered.mean(0)
    variance = (clean - clean_mean).square().mean(0)
    # The minimum of 1 keeps values that hardly vary from an arbitrary gain.
    gain = ((clean - clean_mean) * (triggered - triggered_mean)).mean(0) / variance.clamp(min=1)
    return gain, triggered_mean - gain * clean_mean
