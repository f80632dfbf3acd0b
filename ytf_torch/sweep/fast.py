"""Choose the fastest sweep engine for a network. Its predictions equal the plain engine's.

Nothing upstream of the masked maps changes during a sweep, so it is computed once per image. The
layers downstream decide which engine can update the logits most cheaply. For DeepID a whole sweep
costs about one more forward pass.
"""

from __future__ import annotations

from ytf_torch.network.budget import MAX_CONTRIBUTIONS, contributions
from ytf_torch.network.fork import fork_of
from ytf_torch.network.module import Network
from ytf_torch.network.pruned_layer import maps_of
from ytf_torch.sweep.before_fork import BeforeForkEngine
from ytf_torch.sweep.engine import SweepEngine
from ytf_torch.sweep.linear import LinearEngine, contributed, linear_end
from ytf_torch.sweep.suffix import SuffixEngine


def fast_engine(model: Network, layer: str, rank_at: str) -> SweepEngine:
    """The fastest engine for masking `layer`, with its channels ranked at `rank_at`."""
    maps = maps_of(model.graph, layer)
    fork = fork_of(model.graph)
    if fork is not None and fork.maps == maps:
        if contributions(fork, model.graph.shapes) <= MAX_CONTRIBUTIONS:
            return BeforeForkEngine(model, layer, rank_at, fork)
        # The table of contributions would not fit into the memory budget.
        return SuffixEngine(model, layer, rank_at)
    end = linear_end(model, maps)
    if end is not None and contributed(model, maps, end) <= MAX_CONTRIBUTIONS:
        return LinearEngine(model, layer, rank_at, end)
    return SuffixEngine(model, layer, rank_at)
