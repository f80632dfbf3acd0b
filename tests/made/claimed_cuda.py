"""A device that claims to be `cuda:0`, for machines without a GPU.

Its tensors hold their values in the memory of the CPU and are computed there, so that figures can
be compared to the last bit; but they do not mix with tensors of the CPU, as a GPU's do not, and
whatever would make the CPU wait for a GPU is counted. What it cannot show is how a GPU rounds, how
long it takes, and what it does at the same time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_flatten, tree_map

CUDA = torch.device("cuda", 0)
# What the CPU has to know before it can go on: numbers, or how many there are.
WAITING = {
    *("item", "tolist", "__bool__", "__int__", "__float__", "__index__", "__contains__"),
    *("equal", "allclose", "nonzero", "argwhere", "bincount", "masked_select", "unique"),
    "numpy",
}
# Calls that look at no values, and what a tensor itself says right.
ABOUT_TENSORS = {"device", "_parse_to", "_has_compatible_shallow_copy_type"}
SAID_BY_ITSELF = [getattr(Tensor, name).__get__ for name in ("device", "is_cpu", "is_cuda")]
PICKING = {"__getitem__", "__setitem__", "index_put", "index_put_"}


class ClaimedTensor(Tensor):
    """A tensor that claims to be on CUDA. held: its values, on the CPU."""

    held: Tensor

    @staticmethod
    def __new__(cls, held: Tensor) -> ClaimedTensor:
        claimed: ClaimedTensor = Tensor._make_wrapper_subclass(
            cls, held.shape, strides=held.stride(), dtype=held.dtype, device=CUDA
        )
        claimed.held = held
        return claimed

    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        raise RuntimeError(f"{func} outside of the block in which there is a claimed device")


class ClaimedDevice(TorchFunctionMode):
    """While this block runs there is a `cuda:0`. waits: how often the CPU waited for it, by what
    it waited for."""

    def __init__(self) -> None:
        super().__init__()
        self.waits: Counter[str] = Counter()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = func.__name__
        if name in ABOUT_TENSORS or func in SAID_BY_ITSELF:
            return func(*args, **kwargs)
        if name == "pin_memory":
            return args[0].clone()
        tensors = [part for part in tree_flatten((args, kwargs))[0] if isinstance(part, Tensor)]
        claimed = [tensor for tensor in tensors if isinstance(tensor, ClaimedTensor)]
        target = _target(func, args, kwargs)
        if name == "copy_":
            on_cuda = isinstance(args[0], ClaimedTensor)
        elif target is not None:
            on_cuda = target.type == "cuda"
        else:
            on_cuda = bool(claimed)
            if claimed:
                _check_all_on_cuda(name, tensors)
        if claimed and (not on_cuda or name in WAITING or _picks_by_mask(name, claimed)):
            self.waits[name] += 1
        return _computed(func, args, kwargs, on_cuda=on_cuda)


def _target(func: Any, args: Any, kwargs: Any) -> torch.device | None:
    """The device that a call puts its result on, where it says so."""
    if func.__name__ in ("cpu", "numpy"):
        return torch.device("cpu")
    if func.__name__ in ("cuda", "to"):
        places = [part for part in (*args[1:], *kwargs.values()) if _names_a_device(part)]
        others = [part for part in args[1:] if isinstance(part, Tensor)]
        return torch.device(places[0]) if places else others[0].device if others else None
    wanted = kwargs.get("device")
    return None if wanted is None else torch.device(wanted)


def _names_a_device(part: object) -> bool:
    return isinstance(part, torch.device) or (isinstance(part, str) and part[:4] in ("cpu", "cuda"))


def _check_all_on_cuda(name: str, tensors: list[Tensor]) -> None:
    """A GPU takes single numbers from the CPU, and no other tensors."""
    if any(tensor.ndim and not isinstance(tensor, ClaimedTensor) for tensor in tensors):
        raise RuntimeError(f"{name}: expected all tensors to be on cuda:0, found one on the CPU")


def _picks_by_mask(name: str, claimed: list[ClaimedTensor]) -> bool:
    """Whether how much a call picks has to be counted first."""
    return name in PICKING and any(tensor.held.dtype == torch.bool for tensor in claimed[1:])


def _computed(func: Any, args: Any, kwargs: Any, *, on_cuda: bool) -> Any:
    """The call on what is held; its results claim to be on CUDA where they would be."""
    parts = tree_flatten((args, kwargs))[0]
    claimed = {id(part.held): part for part in parts if isinstance(part, ClaimedTensor)}

    def held(part: Any) -> Any:
        if isinstance(part, ClaimedTensor):
            return part.held
        if _names_a_device(part):
            return torch.device("cpu")
        return part

    def claiming(part: Any) -> Any:
        if not isinstance(part, Tensor) or not on_cuda:
            return part
        if id(part) in claimed:  # written in place
            return claimed[id(part)]
        return ClaimedTensor(part if claimed else part.clone())

    return tree_map(claiming, func(*tree_map(held, args), **tree_map(held, kwargs)))


@contextmanager
def claimed_cuda(monkeypatch: pytest.MonkeyPatch) -> Iterator[ClaimedDevice]:
    """A block in which PyTorch finds one CUDA device."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda *_, **__: CUDA)
    # Modules get new parameters: old ones cannot become tensors of another kind.
    torch.__future__.set_overwrite_module_params_on_conversion(True)
    try:
        with ClaimedDevice() as device:
            yield device
    finally:
        torch.__future__.set_overwrite_module_params_on_conversion(False)
        monkeypatch.undo()
