"""Where and how exactly torch computes."""

import os

import torch

WIDE = 1_000_000  # multiplications of a recurrent step, for each gate


class DeviceMissing(Exception):
    """The worker does not have the device the job asks for."""


def pick_device(wanted: str = "auto") -> torch.device:
    """CUDA where there is one, unless asked otherwise; raises `DeviceMissing`."""
    if wanted == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    device = torch.device(wanted)
    if device.type == "cuda" and not torch.cuda.is_available():
        raise DeviceMissing("This worker has no CUDA device; use device auto or cpu.")
    return device


def has_half(device: torch.device) -> bool:
    """Whether numbers of half the width are faster there: on CUDA, and on processors that know bfloat16."""
    if device.type == "cuda":
        return True
    known = torch.cpu.get_capabilities()
    return any(bool(known.get(name)) for name in ("avx512_bf16", "amx_bf16", "amx_tile", "arm_bf16", "bf16"))


def threads_for(most: int, hidden_size: int, batch_size: int) -> int:
    """How many CPU threads a training is worth.

    Measured with two of them, waiting passively, on two cores: a step of 16 rows of 384 units takes 0.6 of
    the time, or 1.1 of it beside another process; one of 16 rows of 128 units is never faster.
    """
    return most if batch_size * hidden_size**2 >= WIDE else 1


def prepare(device: torch.device, threads: int = 1) -> None:
    """So many CPU threads, repeatable kernels, TF32 on CUDA."""
    torch.set_num_threads(threads)
    # Kernels are kept for each shape of a batch: with oneDNN's 1,024 of them texts took gigabytes.
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "64")
    if device.type == "cuda":
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuDNN's recurrences repeat only so
        torch.set_float32_matmul_precision("high")
    torch.use_deterministic_algorithms(mode=True, warn_only=True)
