"""Room for bytes in flight."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamvis.server.room import Room


@pytest.mark.asyncio
async def test_those_who_find_no_room_wait_in_order() -> None:
    """Also the small ones behind a large one, which therefore gets its turn."""
    room, order = Room(10), list[str]()

    async def enter(name: str, size: int) -> int:
        taken = await room.enter(size)
        order.append(name)
        return taken

    assert await enter("first", 8) == 8
    waiting = [asyncio.create_task(enter(name, size)) for name, size in (("huge", 99), ("small", 1))]
    await asyncio.sleep(0)
    assert order == ["first"]
    room.leave(8)
    assert await waiting[0] == 10, "what is larger than the room gets all of it"
    assert (order, room.taken) == (["first", "huge"], 10)
    room.leave(10)
    await waiting[1]
    assert (order, room.taken) == (["first", "huge", "small"], 1)


@given(st.lists(st.tuples(st.integers(0, 12), st.booleans()), max_size=20))
def test_whoever_gives_up_takes_nothing_along(entries: list[tuple[int, bool]]) -> None:
    """However many are cancelled while they wait or when their turn has just come, in the end all room is free."""

    async def run() -> None:
        room = Room(10)

        async def stay(size: int) -> None:
            taken = await room.enter(size)
            try:
                assert room.taken <= 10
                await asyncio.sleep(0)
            finally:
                room.leave(taken)

        tasks = [asyncio.create_task(stay(size)) for size, _ in entries]
        for task, (_, cancelled) in zip(tasks, entries, strict=True):
            await asyncio.sleep(0)
            if cancelled:
                task.cancel()
        await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 10)
        assert room.taken == 0

    asyncio.run(run())
