"""The device of a training, its CPU threads, and repeatable kernels."""

import os

import torch

MIN_PARALLEL_PRODUCTS = 1_000_000  # multiplications of a recurrent step for each gate


class DeviceMissing(Exception):
    """The worker does not have the device the job asks for."""


def pick_device(name: str = "auto") -> torch.device:
    """The named device; `auto` is CUDA where there is a device, else the CPU. Raises `DeviceMissing`."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    device = torch.device(name)
    if device.type == "cuda" and not torch.cuda.is_available():
        raise DeviceMissing("This worker has no CUDA device; use device auto or cpu.")
    return device


def has_fast_half(device: torch.device) -> bool:
    """Whether half precision is faster on this device: on CUDA, and on processors with bfloat16."""
    if device.type == "cuda":
        return True
    capabilities = torch.cpu.get_capabilities()
    return any(
        bool(capabilities.get(name)) for name in ("avx512_bf16", "amx_bf16", "amx_tile", "arm_bf16", "bf16")
    )


def threads_for(max_threads: int, hidden_size: int, batch_size: int) -> int:
    """The number of CPU threads that shorten a training's steps.

    Measured with two of them, waiting passively, on two cores: a step of 16 rows of 384 units takes 0.6 of
    the time, or 1.1 of it beside another process; one of 16 rows of 128 units is never faster.
    """
    return max_threads if batch_size * hidden_size**2 >= MIN_PARALLEL_PRODUCTS else 1


def prepare(device: torch.device, threads: int = 1) -> None:
    """Set the number of CPU threads, repeatable kernels, and TF32 on CUDA."""
    torch.set_num_threads(threads)
    # Kernels are kept for each shape of a batch: with oneDNN's 1,024 of them texts took gigabytes.
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "64")
    if device.type == "cuda":
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuDNN's recurrences repeat only so
        torch.set_float32_matmul_precision("high")
    torch.use_deterministic_algorithms(mode=True, warn_only=True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
