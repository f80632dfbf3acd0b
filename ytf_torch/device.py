"""Which device a run computes on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal, get_args

from ytf_torch.distributed import launched, local_rank
from ytf_torch.errors import InputError, argument, mismatch

if TYPE_CHECKING:
    import torch

DeviceName = Literal["auto", "cpu", "cuda"]


def resolve_device(name: str) -> torch.device:
    """`auto` is cuda where there is one, else cpu; each process of torchrun gets a GPU of its own.

    Raises InputError for another name, and for cuda where there is none.
    """
    if name not in get_args(DeviceName):
        raise mismatch(argument("device"), "auto, cpu or cuda", name)
    import torch

    if name == "cuda" and not torch.cuda.is_available():
        raise InputError(
            argument("device", "cuda"),
            f"PyTorch {torch.__version__} sees no CUDA device",
            f"Use {argument('device', 'cpu')}, or install a CUDA build of PyTorch (see README)",
        )
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda":
        return _own_gpu(local_rank() if launched() else 0)
    return torch.device(name)


@contextmanager
def exact_float32() -> Iterator[None]:
    """While this lasts, CUDA computes with float32 as it is; then the process's own settings are
    back. Also a decorator: `@exact_float32()`.

    By default cuDNN rounds what float32 convolutions read to 10 bits: no parity is left then.
    """
    import torch

    convolutions, products = torch.backends.cudnn.allow_tf32, torch.get_float32_matmul_precision()
    torch.backends.cudnn.allow_tf32 = False
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = convolutions
        torch.set_float32_matmul_precision(products)


def _own_gpu(local_rank: int) -> torch.device:
    import torch

    if local_rank >= torch.cuda.device_count():
        raise mismatch(
            "torchrun",
            f"at most {torch.cuda.device_count()}, one process for each GPU of this machine",
            f"process {local_rank + 1}",
            f"Start fewer processes, or use {argument('device', 'cpu')}",
        )
    return torch.device("cuda", local_rank)
