"""The pruning sweep for about the price of one more forward pass, with the plain sweep's figures.

Up to the maps in which a masked channel ends nothing changes during a sweep, so it is computed
once. What follows decides how the steps are computed: see the engines.
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
    """The fast engine for masking `layer`, ranked at `rank_at`: see SweepEngine."""
    maps = maps_of(model.graph, layer)
    fork = fork_of(model.graph)
    if fork is not None and fork.maps == maps:
        if contributions(fork, model.graph.shapes) <= MAX_CONTRIBUTIONS:
            return BeforeForkEngine(model, layer, rank_at, fork)
        return SuffixEngine(model, layer, rank_at)
    end = linear_end(model, maps)
    if end is not None and contributed(model, maps, end) <= MAX_CONTRIBUTIONS:
        return LinearEngine(model, layer, rank_at, end)
    return SuffixEngine(model, layer, rank_at)
