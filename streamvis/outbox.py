"""What a writer has sent and the server has not acknowledged: the client's half of exactly once, without any I/O.

Batches go out in order, several at a time, and answers come back in the same order. When the server refuses one (a
batch is missing, or a topic is gone) it refuses those behind it too; the outbox waits for these answers, then goes back
to the first that is not acknowledged and declares every topic again.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace

from streamvis.errors import MalformedError
from streamvis.records import Ack, Batch


@dataclass(frozen=True, slots=True)
class Settled:
    """What an answer settled: the batch it acknowledged, or the first number of those that the server has lost."""

    batch: Batch | None = None
    lost_from: int = 0


class Outbox:
    """Unacknowledged batches of one writer, numbered without gaps."""

    def __init__(self) -> None:
        self._unacknowledged: deque[Batch] = deque()
        self._in_flight: deque[int] = deque()
        self._bound: set[int] = set()
        self._next = 0
        self._going_back = False
        self.nbytes = 0

    def __len__(self) -> int:
        return len(self._unacknowledged)

    @property
    def batches(self) -> tuple[Batch, ...]:
        """What the server has not acknowledged, in order."""
        return tuple(self._unacknowledged)

    @property
    def in_flight(self) -> int:
        """How many answers are outstanding."""
        return len(self._in_flight)

    @property
    def going_back(self) -> bool:
        """Whether nothing may be sent until the answers to what is in flight have come."""
        return self._going_back

    def add(self, batch: Batch) -> None:
        """Queues the batch after those before it."""
        self._unacknowledged.append(batch)
        self.nbytes += size(batch)

    def next(self) -> Batch | None:
        """The next batch to send, with the declarations that its stream lacks; None when there is nothing to send."""
        if self._going_back or self._next == len(self._unacknowledged):
            return None
        batch = self._unacknowledged[self._next]
        self._next += 1
        self._in_flight.append(batch.number)
        missing = tuple(declared for declared in batch.declarations if declared.handle not in self._bound)
        self._bound.update(declared.handle for declared in missing)
        return replace(batch, declarations=missing)

    def replace_first(self, batch: Batch) -> None:
        """Puts the batch in the place of the first that is not acknowledged, whose number it has."""
        self.nbytes += size(batch) - size(self._unacknowledged[0])
        self._unacknowledged[0] = batch

    def restart(self) -> None:
        """A new stream: nothing is in flight, nothing declared, all is to be sent."""
        self._in_flight.clear()
        self._go_back()

    def clear(self) -> None:
        """Forgets everything: somebody else keeps it now."""
        self._unacknowledged.clear()
        self.nbytes = 0
        self.restart()

    def settle(self, ack: Ack) -> Settled:
        """Takes the server's next answer. Raises MalformedError when it does not answer what was sent."""
        if not self._in_flight or self._in_flight[0] != ack.number:
            raise MalformedError(f"the server acknowledged batch {ack.number}; expected {list(self._in_flight)[:1]}")
        self._in_flight.popleft()
        first = self._unacknowledged[0].number
        settled = Settled()
        if ack.stored and ack.number == first:
            batch = self._unacknowledged.popleft()
            self.nbytes -= size(batch)
            self._next -= 1
            settled = Settled(batch)
        elif not ack.stored:
            self._going_back = True
            if 0 < ack.expected < first:
                settled = Settled(lost_from=ack.expected)
        if self._going_back and not self._in_flight:
            self._go_back()
        return settled

    def _go_back(self) -> None:
        self._going_back = False
        self._next = 0
        self._bound.clear()


def size(batch: Batch) -> int:
    """Bytes of the batch's blocks."""
    return sum(block.size for block in batch.blocks)
