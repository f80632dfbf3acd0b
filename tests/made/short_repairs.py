"""Built-in repairs that train for half a minute, here for a second or two: for tests of what is
written and shown of a repair, whatever it is worth."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from ytf_torch.defences.methods import DROP, REPAIRS, MakeRepair
from ytf_torch.defences.rankings.anp import AdversarialNeuronPruning
from ytf_torch.defences.repairs.distillation import Distillation
from ytf_torch.defences.repairs.pruning import Pruning

SHORT: dict[str, MakeRepair] = {
    "distillation": lambda seed: Distillation(rounds=5, lesson=480, seed=seed),
    "anp": lambda seed: Pruning(DROP, ranking=AdversarialNeuronPruning(iterations=50, seed=seed)),
}


@contextmanager
def short_training() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name, make in SHORT.items():
            patch.setitem(REPAIRS, name, make)
        yield
