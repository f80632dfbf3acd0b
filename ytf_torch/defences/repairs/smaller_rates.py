"""Attempts at ever smaller rates, for methods whose published rates end some networks.

They suit networks with batch normalization and normalized inputs. The lab's network has neither.
"""

from __future__ import annotations

from collections.abc import Callable

from ytf_torch.network.module import Network

# An early look at a copy must find that it recognises this share of the faces that the network
# recognises. Else training starts again at a quarter of the rates, up to SHRINKINGS times.
STILL_KNOWN = 0.5
SHRUNK, SHRINKINGS = 0.25, 3


def first_that_still_knows(
    attempt: Callable[[float, float], Network | None], recognised: int
) -> tuple[Network, float]:
    """The first copy that has not forgotten its classes, and at which share of the rates it was
    trained: 1, or a power of SHRUNK.

    attempt: from a share of the rates and the least number of faces that the copy has to recognise
    early on, to the copy, or None if it recognises fewer. The last attempt requires 0.
    recognised: the number of faces that the network recognises.
    """
    for shrinking in range(SHRINKINGS + 1):
        share = SHRUNK**shrinking
        required = STILL_KNOWN * recognised if shrinking < SHRINKINGS else 0
        trained = attempt(share, required)
        if trained is not None:
            return trained, share
    raise AssertionError("the last attempt requires nothing")
