"""Room for bytes in flight: what does not fit waits its turn, and its sender with it."""

from __future__ import annotations

import asyncio
from collections import deque


class Room:
    """So many bytes that things share while they are under way. For one event loop."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._free = size
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    @property
    def taken(self) -> int:
        """Bytes that are under way."""
        return self._size - self._free

    async def enter(self, size: int) -> int:
        """Waits for so many bytes, behind all who came before; of more than there are, for all.

        Returns how many to give back.
        """
        size = min(size, self._size)
        if self._waiting or size > self._free:
            await self._turn(size)
        else:
            self._free -= size
        return size

    async def _turn(self, size: int) -> None:
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append((size, turn))
        try:
            await turn
        except asyncio.CancelledError:
            self.leave(0 if turn.cancelled() else size)
            raise

    def leave(self, size: int) -> None:
        """Gives the bytes back, and lets in who has waited longest."""
        self._free += size
        while self._waiting and (self._waiting[0][1].cancelled() or self._waiting[0][0] <= self._free):
            size, turn = self._waiting.popleft()
            if not turn.cancelled():
                self._free -= size
                turn.set_result(None)
