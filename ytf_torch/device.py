"""Which device a run computes on."""

from __future__ import annotations

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

    # By default cuDNN rounds what float32 convolutions read to 10 bits: no parity is left then.
    torch.backends.cudnn.allow_tf32 = False
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
