"""Selects the device of a run, and exact float32 arithmetic on it."""

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
    """The device called `name`: "cpu", "cuda", or "auto", which is cuda if available, else cpu.

    Under torchrun each process gets its own GPU. Raises InputError for another name, and for cuda
    if there is none.
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
    """Disable TF32 on CUDA within this context, and restore the process's settings afterwards.

    Can also be used as a decorator, `@exact_float32()`. By default cuDNN computes float32
    convolutions in TF32, which rounds their inputs to 10 bits of mantissa: too coarse for parity
    with Keras.
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
    """The GPU of a process by its rank on this machine. Raises InputError if there are too few."""
    import torch

    if local_rank >= torch.cuda.device_count():
        raise mismatch(
            "torchrun",
            f"at most {torch.cuda.device_count()}, one process for each GPU of this machine",
            f"process {local_rank + 1}",
            f"Start fewer processes, or use {argument('device', 'cpu')}",
        )
    return torch.device("cuda", local_rank)
