"""How the flat snapshots of a torch device reach the host: one lane per kind of device.

A lane is told about each snapshot when it has been enqueued, by the thread that writes, and moves many of them at
once, on the thread that flushes.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
from collections.abc import Iterator, Sequence
from typing import Protocol

import torch

from streamvis.errors import DtypeError

SMALL_BYTES = 64 << 10
"""Snapshots up to this size are gathered on the device and moved in one piece; larger ones one each."""


class Lane(Protocol):
    """One device's way to the host."""

    def check(self) -> None:
        """Raises DtypeError where a snapshot would not mean what the user means."""

    def enqueued(self) -> None:
        """The calling thread has just enqueued a snapshot; called before anybody may move it."""

    def move(self, groups: Sequence[Sequence[torch.Tensor]]) -> tuple[list[torch.Tensor], int]:
        """For each group, all of one dtype, its snapshots back to back on the host; and how many copies that took."""


class QueuedLane:
    """The host, and devices with a single queue (MPS): what was enqueued first is done first, and reading waits."""

    def check(self) -> None:
        """Nothing can be the matter."""

    def enqueued(self) -> None:
        """The queue keeps the order."""

    def move(self, groups: Sequence[Sequence[torch.Tensor]]) -> tuple[list[torch.Tensor], int]:
        """Gathers each group and reads it."""
        pieces = [_gathered(snapshots) for snapshots in groups]
        moved = [[piece.cpu() for piece in group] for group in pieces]
        return [_joined(group) for group in moved], sum(map(len, pieces))


class CudaLane:
    """CUDA (or ROCm): copies run on a stream of our own, after the events that the producers' streams recorded.

    An event is recorded when something is written, not at the flush: by then the producer's stream may be capturing a
    graph, which would take the flush into it.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]  # torch leaves these untyped
        self._events: dict[torch.cuda.Stream, torch.cuda.Event] = {}

    def check(self) -> None:
        """Raises DtypeError while a graph is captured."""
        if torch.cuda.is_current_stream_capturing():
            raise DtypeError(
                "is written while a CUDA graph is captured: the copy would become part of the graph, and each replay "
                "would overwrite it; write the graph's output after each replay() instead"
            )

    def enqueued(self) -> None:
        """Marks the place in the current stream, after which the snapshot is there."""
        stream = torch.cuda.current_stream(self._device)
        event = self._events.get(stream)
        if event is None:
            event = self._events.setdefault(stream, torch.cuda.Event())  # type: ignore[no-untyped-call]
        event.record(stream)

    def move(self, groups: Sequence[Sequence[torch.Tensor]]) -> tuple[list[torch.Tensor], int]:
        """Copies into pinned memory, and waits without holding the interpreter lock."""
        with _beside_captures(), torch.cuda.device(self._device), torch.cuda.stream(self._stream):
            for event in list(self._events.values()):
                self._stream.wait_event(event)
            pieces = [_gathered(snapshots) for snapshots in groups]
            moved = [_pinned(group) for group in pieces]
            # The default would spin while it waits.
            done = torch.cuda.Event(blocking=True)  # type: ignore[no-untyped-call]
            done.record(self._stream)
            done.synchronize()
        return moved, sum(map(len, pieces))


def _gathered(snapshots: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """The snapshots in order, neighbouring small ones joined on their device."""
    pieces: list[torch.Tensor] = []
    small: list[torch.Tensor] = []
    for snapshot in snapshots:
        if snapshot.nbytes <= SMALL_BYTES:
            small.append(snapshot)
            continue
        if small:
            pieces.append(_joined(small))
            small = []
        pieces.append(snapshot)
    if small:
        pieces.append(_joined(small))
    return pieces


def _joined(pieces: Sequence[torch.Tensor]) -> torch.Tensor:
    return pieces[0] if len(pieces) == 1 else torch.cat(list(pieces))


def _pinned(pieces: Sequence[torch.Tensor]) -> torch.Tensor:
    """The pieces back to back in pinned memory, once the stream has got there."""
    into = torch.empty(sum(piece.numel() for piece in pieces), dtype=pieces[0].dtype, pin_memory=True)
    start = 0
    for piece in pieces:
        into[start : start + piece.numel()].copy_(piece, non_blocking=True)
        start += piece.numel()
    return into


@contextlib.contextmanager
def _beside_captures() -> Iterator[None]:
    """Lets this thread allocate and wait while another one captures a graph, which that would break by default."""
    runtime = _cuda_runtime()
    if runtime is None:
        yield
        return
    mode = ctypes.c_int(1)  # cudaStreamCaptureModeThreadLocal
    runtime.cudaThreadExchangeStreamCaptureMode(ctypes.byref(mode))
    try:
        yield
    finally:
        runtime.cudaThreadExchangeStreamCaptureMode(ctypes.byref(mode))


@functools.cache
def _cuda_runtime() -> ctypes.CDLL | None:
    """The CUDA runtime that torch has loaded, where it can be found by its name."""
    version = torch.version.cuda
    with contextlib.suppress(OSError):
        return ctypes.CDLL(f"libcudart.so.{version.partition('.')[0]}") if version else None
    return None


def lane_for(device: torch.device) -> Lane | None:
    """The device's lane; None for a kind of device whose order of work we do not know."""
    if device.type == "cuda":
        return CudaLane(device)
    return QueuedLane() if device.type in ("cpu", "mps") else None
