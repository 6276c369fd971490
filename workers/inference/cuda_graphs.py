"""Buffers of fixed shapes, and on CUDA graphs that replay the whole computation between them."""

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from app.arrays import Array, Ints

logger = logging.getLogger(__name__)

Compute = Callable[[Tensor, Tensor], Tensor]

CUDA_BUSY = threading.Lock()  # held while a version loads: a capture then would fail or spoil both


class CudaGraph:
    """The buffers of one shape, on host and device, and from its second use on a CUDA graph between them."""

    def __init__(
        self, compute: Compute, shape: tuple[int, int, int], device: torch.device, dtype: torch.dtype
    ) -> None:
        self._compute, self._device = compute, device
        pinned = device.type == "cuda"
        self._host = torch.zeros(shape, dtype=dtype, pin_memory=pinned)  # (batch, time, features)
        self._host_lengths = torch.ones(shape[0], dtype=torch.int64, pin_memory=pinned)  # (batch,)
        self._inputs, self._lengths = self._host.to(device), self._host_lengths.to(device)
        self._outputs = compute(self._inputs, self._lengths)  # (batch, …)
        self._host_outputs = torch.empty(self._outputs.shape, pin_memory=pinned)
        self._graph: torch.cuda.CUDAGraph | None = None
        self._captures = pinned  # whether a capture may still be tried

    def run(self, inputs: Array, lengths: Ints) -> Array:
        """Outputs (batch, …) of a batch that fits; rests of earlier batches lie behind every row's end."""
        batch, time, _ = inputs.shape
        self._host.numpy()[:batch, :time] = inputs
        self._host_lengths.numpy()[:batch] = lengths
        self._inputs.copy_(self._host, non_blocking=True)
        self._lengths.copy_(self._host_lengths, non_blocking=True)
        if self._graph is not None:
            self._graph.replay()
        else:
            self._compute_once()
        self._host_outputs.copy_(self._outputs, non_blocking=True)
        if self._device.type == "cuda":
            torch.cuda.current_stream(self._device).synchronize()
        outputs: Array = self._host_outputs[:batch].numpy().copy()
        return outputs

    def capture(self, pool: Any) -> None:
        """Try once to capture the computation as a CUDA graph; without one kernels are launched singly."""
        if self._graph is not None or not self._captures or not CUDA_BUSY.acquire(blocking=False):
            return
        self._captures = False
        try:
            self._graph = self._record(pool)
        except RuntimeError as error:
            torch.cuda.synchronize(self._device)
            logger.warning("no CUDA graph for %s: %s", tuple(self._host.shape), error)
        finally:
            CUDA_BUSY.release()

    def _record(self, pool: Any) -> torch.cuda.CUDAGraph:
        main = torch.cuda.current_stream(self._device)
        side: Any = torch.cuda.Stream(self._device)  # type: ignore[no-untyped-call]
        side.wait_stream(main)
        with torch.cuda.stream(side):
            for _ in range(2):  # whatever the libraries allocate on first use, they allocate here
                self._compute_once()
        main.wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=pool, capture_error_mode="thread_local"):
            self._compute_once()
        return graph

    def _compute_once(self) -> None:
        self._outputs.copy_(self._compute(self._inputs, self._lengths))


class CudaGraphCache:
    """The graphs of one engine by shape; beyond a bound the least recently used one goes."""

    def __init__(
        self, compute: Compute, device: torch.device, max_graphs: int, dtype: torch.dtype = torch.float32
    ) -> None:
        self._compute, self._device, self._max_graphs, self._dtype = compute, device, max_graphs, dtype
        self._graphs: OrderedDict[tuple[int, int, int], CudaGraph] = OrderedDict()
        # One pool for all: one graph replays at a time, and its outputs are copied before the next.
        self._pool: Any = torch.cuda.graph_pool_handle() if device.type == "cuda" else None

    def __len__(self) -> int:
        return len(self._graphs)

    def get(self, shape: tuple[int, int, int]) -> CudaGraph:
        """The graph of a shape (batch, time, features)."""
        if (graph := self._graphs.get(shape)) is not None:
            graph.capture(self._pool)
        else:
            graph = self._graphs[shape] = CudaGraph(self._compute, shape, self._device, self._dtype)
            if len(self._graphs) > self._max_graphs:
                self._graphs.popitem(last=False)
        self._graphs.move_to_end(shape)
        return graph
