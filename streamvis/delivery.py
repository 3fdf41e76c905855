"""Numbered batches on their way to the server, through outages, restarts and wiped data: outbox, spool and link.

While the spool holds anything, new batches go behind it, and the outbox is a window over its front: the order of
numbers is the order of sending, always. When the link is lost, what the server has not acknowledged goes to the spool.

A batch that the server refuses for what it holds, which ends its stream, is sent again, alone; when it is refused again
it is set aside, and an empty one takes its number.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias

from streamvis.errors import BufferFullError, MalformedError, SpoolError, StreamvisError, UnavailableError, UsageError
from streamvis.outbox import Outbox
from streamvis.records import CONFIGS, Ack, Batch
from streamvis.spool import Loss, Spool, writer_id
from streamvis.transport import Link, OpenLink

IN_FLIGHT = 64
"""Batches sent and not answered at most."""

ANSWER_TIMEOUT = 30.0
"""Seconds without an answer after which a link counts as lost."""

COPY_AFTER = 3.0
"""Seconds without an answer after which what is unacknowledged is on disk as well, in case this process dies."""

_FIRST_RETRY, _LAST_RETRY = 0.05, 5.0

_log = logging.getLogger("streamvis")


@dataclass(frozen=True, slots=True)
class Answer:
    """The server's answer to the first batch in flight on the link of that number."""

    link: int
    ack: Ack


@dataclass(frozen=True, slots=True)
class Lost:
    """The link of that number has ended."""

    link: int
    error: StreamvisError


LinkEvent: TypeAlias = Answer | Lost

Refusal: TypeAlias = tuple[Batch, Mapping[int, str]]
"""A batch, and why the server does not store what belongs to each of these of its handles."""


@dataclass(frozen=True, slots=True)
class SpoolOptions:
    """Where unacknowledged batches are kept, and how many bytes at most: on disk, and in memory before that."""

    root: Path
    max_bytes: int
    window_bytes: int


class Delivery:
    """Delivers the batches of one writer exactly once. One thread uses it; links report to `post` from theirs."""

    def __init__(
        self, label: str, open_link: OpenLink, options: SpoolOptions, post: Callable[[LinkEvent], None]
    ) -> None:
        self._label = label
        self._open_link = open_link
        self._options = options
        self._post = post
        self._outbox = Outbox()
        self._link: Link | None = None
        self._links = 0
        self._heard = 0.0
        self._copied = False  # or tried to, since the last answer
        self._retry_delay = _FIRST_RETRY
        self._before = 0  # batches delivered under earlier writer ids
        self._alone_until = 0  # the number up to which batches are sent one by one
        self._set_aside: set[int] = set()  # numbers of batches that are sent empty
        self._away = False
        self.stuck = False  # neither the server nor the disk takes what is in memory
        self._offered_at: deque[tuple[int, float]] = deque()  # of outstanding batches, at most one a second
        self._losses: list[Loss] = []
        self._lost: Counter[str] = Counter()
        self.counts: Counter[str] = Counter()
        self.next_connect = 0.0
        self._begin_writer()

    @classmethod
    def resume(
        cls, spool: Spool, open_link: OpenLink, options: SpoolOptions, post: Callable[[LinkEvent], None]
    ) -> Delivery:
        """The delivery of what another process left in its spool, under that process's writer id."""
        delivery = cls(spool.path.name, open_link, options, post)
        delivery._writer, delivery._spool = spool.writer, spool
        delivery._last_number, delivery._acknowledged = spool.last, spool.acknowledged
        return delivery

    def _begin_writer(self) -> None:
        self._writer = writer_id(self._label)
        self._spool = Spool(self._options.root, self._writer, self._options.max_bytes)
        self._last_number = self._acknowledged = self._alone_until = 0

    # ---- where things stand

    @property
    def spool_path(self) -> Path:
        """Where unacknowledged batches are kept on disk."""
        return self._spool.path

    @property
    def spool_bytes(self) -> int:
        """Bytes that they take."""
        return self._spool.nbytes

    @property
    def memory_bytes(self) -> int:
        """Bytes of the batches held in memory."""
        return self._outbox.nbytes

    @property
    def connected(self) -> bool:
        """Whether a link is open, as far as is known."""
        return self._link is not None

    @property
    def away(self) -> bool:
        """Whether the server is gone: the link was lost, and nothing was acknowledged since."""
        return self._away

    @property
    def silent(self) -> bool:
        """Whether the server has not answered for so long that what it owes answers for is on disk as well."""
        return self._copied

    @property
    def outstanding(self) -> int:
        """Batches that the server has not acknowledged."""
        return self._last_number - self._acknowledged

    @property
    def offered(self) -> int:
        """Batches accepted so far."""
        return self._before + self._last_number

    @property
    def safe(self) -> int:
        """How many of them are acknowledged or, while the server is away, kept as well as they can be."""
        if self.stuck:
            return self.offered
        spooled = self._link is None and not self._spool.empty
        return self._before + (self._spool.last if spooled else self._acknowledged)

    @property
    def has_room(self) -> bool:
        """Whether the next batch stays in memory."""
        return self._spool.empty and self._outbox.nbytes < self._options.window_bytes

    def lag(self, now: float) -> float:
        """For how many seconds the oldest batch waits that the server has not acknowledged."""
        return now - self._offered_at[0][1] if self.outstanding and self._offered_at else 0.0

    def deadline(self) -> float | None:
        """When `pump` has something to do even if nothing happens."""
        if self._link is None:
            return self.next_connect if self.outstanding else None
        return self._heard + (ANSWER_TIMEOUT if self._copied else COPY_AFTER) if self._outbox.in_flight else None

    def _forget_acknowledged(self) -> None:
        """Lets the spool forget what was acknowledged, now that whoever took a refusal has dealt with it."""
        if self._spool.acknowledged < self._acknowledged:
            self._spool.acknowledge(self._acknowledged)

    # ---- taking batches

    def offer(self, batch: Batch) -> None:
        """Takes a batch and numbers it. Raises BufferFullError or SpoolError, and then has not taken it."""
        self._forget_acknowledged()
        batch = replace(batch, writer=self._writer, number=self._last_number + 1)
        if self.has_room:
            self._outbox.add(batch)
        else:
            if self._spool.empty:
                self._spill()
            self._spool.append(batch)
            self.counts["spooled"] += 1
        self._last_number = batch.number
        now = time.monotonic()
        if not self._offered_at or now - self._offered_at[-1][1] >= 1.0:
            self._offered_at.append((self.offered, now))

    def take_losses(self) -> list[Loss]:
        """Batches that the spool was found to hold no longer, since the last call."""
        taken, self._losses = [*self._losses, *self._spool.take_losses()], []
        return taken

    def take_lost(self) -> Counter[str]:
        """What these held, since the last call: points by name, and configs."""
        taken, self._lost = self._lost + self._spool.take_lost(), Counter()
        return taken

    def _spill(self) -> None:
        """Copies the outbox to the spool, all of it or nothing. Raises BufferFullError or SpoolError."""
        try:
            for batch in self._outbox.batches:
                self._spool.append(batch)
        except (BufferFullError, SpoolError):
            self._spool.clear()
            raise
        self._spool.mark_read()
        self.counts["spooled"] += len(self._outbox)

    # ---- sending

    def pump(self, now: float) -> None:
        """Connects when it is time to, and sends what the server can take."""
        self._forget_acknowledged()
        self._spool.hold(now)
        if self._link is None and self.outstanding and now >= self.next_connect:
            self._connect(now)
        limit = 1 if self._alone else IN_FLIGHT
        while self._link is not None and self._outbox.in_flight < limit:
            batch = self._outbox.next()
            if batch is not None:
                self._heard = self._heard if self._outbox.in_flight > 1 else now
                self._link.send(batch)
            elif self._outbox.going_back or not self._refill():
                break
        if not self._copied and self._outbox.in_flight and now >= self._heard + COPY_AFTER:
            self._copied = True
            self._copy()
        if self._link is not None and self._outbox.in_flight and now >= self._heard + ANSWER_TIMEOUT:
            self._on_lost(UnavailableError(f"the server has not answered for {ANSWER_TIMEOUT:.0f} s"), now)

    def take(self, event: LinkEvent, now: float) -> Refusal | None:
        """Applies what a link reported; gives what the server refused for good, if that is what it says.

        The spool keeps that until the next call: whoever cannot keep it elsewhere calls `close`, and nothing else.
        """
        self._forget_acknowledged()
        if self._link is None or event.link != self._links:
            return None
        if isinstance(event, Answer):
            return self._on_answer(event.ack, now)
        if isinstance(event.error, UsageError) and self._outbox.in_flight:
            return self._on_refused(event.error, now)
        self._on_lost(event.error, now)
        return None

    @property
    def _alone(self) -> bool:
        return self._acknowledged < self._alone_until

    def _on_refused(self, error: UsageError, now: float) -> Refusal | None:
        """The server ended the stream because of a batch: the one in flight, or one of them."""
        first = self._outbox.batches[0]
        if not self._alone:
            self._alone_until = first.number + self._outbox.in_flight - 1
            self._reconnect(now)
            return None
        if first.number in self._set_aside:  # nothing that this writer sends is taken
            self._on_lost(error, now)
            return None
        self._set_aside.add(first.number)
        self._outbox.replace_first(_emptied(first))
        self._spool.release(first)
        self._reconnect(now)
        return first, dict.fromkeys(_handles(first), str(error))

    def _reconnect(self, now: float) -> None:
        self._disconnect()
        self.counts["retries"] += 1
        self.next_connect = now
        self._outbox.restart()

    def _read(self, spool: Spool) -> Batch | None:
        batch = spool.read()
        return _emptied(batch) if batch is not None and batch.number in self._set_aside else batch

    def _copy(self) -> None:
        """Puts a copy of what the server is slow to acknowledge on disk, if that takes it."""
        if self._spool.empty:
            with contextlib.suppress(BufferFullError, SpoolError):  # `secure` says so, once the server counts as lost
                self._spill()

    def _refill(self) -> bool:
        """Moves the next batch of the spool into the outbox."""
        if self._spool.empty:
            return False
        try:
            batch = self._read(self._spool)
        except SpoolError as error:
            self._abandon_spool(error)
            return False
        if batch is not None:
            self._outbox.add(batch)
        return batch is not None

    def _connect(self, now: float) -> None:
        self._heard, self._copied = now, False
        self._links = number = self._links + 1
        try:
            self._link = self._open_link(
                lambda ack: self._post(Answer(number, ack)), lambda error: self._post(Lost(number, error))
            )
        except (OSError, RuntimeError) as error:  # no more threads or processes, as while the interpreter shuts down
            self._on_lost(UnavailableError(f"no connection can be made: {error}"), now)

    def _disconnect(self) -> None:
        if self._link is not None:
            self._link.close()
            self._link = None

    def _on_answer(self, ack: Ack, now: float) -> Refusal | None:
        self._heard, self._copied = now, False
        try:
            settled = self._outbox.settle(ack)
        except MalformedError as error:
            self._on_lost(error, now)
            return None
        if settled.lost_from:
            self._renew(f"the server has lost batches {settled.lost_from} to {self._acknowledged} of {self._writer}")
        if settled.batch is None:
            return None
        self._retry_delay = _FIRST_RETRY
        self.stuck = False
        self._acknowledged = settled.batch.number
        self._set_aside.discard(self._acknowledged)
        self._forget_times()
        self._spool.release(settled.batch)
        if self._away:
            self._away = False
            _log.warning("the server answers again; sending what was kept of %r", self._label)
        return (settled.batch, ack.rejected) if ack.rejected else None

    def _forget_times(self) -> None:
        first = self.offered - self.outstanding + 1
        while self._offered_at and (
            not self.outstanding or (len(self._offered_at) > 1 and self._offered_at[1][0] <= first)
        ):
            self._offered_at.popleft()

    def _on_lost(self, error: StreamvisError, now: float) -> None:
        self._disconnect()
        self.counts["retries"] += 1
        self.next_connect = now + self._retry_delay
        self._retry_delay = min(2 * self._retry_delay, _LAST_RETRY)
        self.secure()
        if not self._away:
            self._away = True
            place = "memory" if self.stuck else self._spool.path
            _log.warning("%s; points of %r are kept in %s until it answers", error, self._label, place)

    def secure(self) -> None:
        """Puts what is unacknowledged on disk; what does not fit there stays in memory."""
        if self._spool.empty and self._outbox:
            try:
                self._spill()
            except (BufferFullError, SpoolError) as error:
                if not self.stuck:
                    _log.error("unsent points of %r stay in memory: %s", self._label, error)
                self.stuck = True
                self._outbox.restart()
                return
        self.stuck = False
        self._outbox.clear()
        self._spool.rewind()

    # ---- when numbers cannot go on

    def _renew(self, reason: str) -> None:
        """Goes on as a new writer, whose first batch is the first that is not acknowledged."""
        old, kept, offered = self._spool, self._outbox.batches, self.offered
        self._before += self._acknowledged
        self._begin_writer()
        self.counts["errors"] += 1
        _log.error("%s: its data was wiped or restored; going on as %s", reason, self._writer)
        self._outbox.clear()
        self._disconnect()
        if old.empty:
            for batch in kept:
                self._outbox.add(self._renumbered(batch))
        else:
            try:
                self._copy_spool(old)
            except (BufferFullError, SpoolError) as error:
                _log.error("%s; `streamvis push %s` sends what it keeps of %r", error, old.path, self._label)
                self._spool.clear()
                self._last_number, self._before = 0, offered
        self._set_aside.clear()
        self._close_spool(old)
        self._losses += old.take_losses()
        self._lost += old.take_lost()

    def _renumbered(self, batch: Batch) -> Batch:
        self._last_number += 1
        return replace(batch, writer=self._writer, number=self._last_number)

    def _copy_spool(self, old: Spool) -> None:
        """All of it or nothing. Raises BufferFullError or SpoolError."""
        old.rewind()
        for batch in iter(lambda: self._read(old), None):
            self._spool.append(self._renumbered(batch))
            old.release(batch)
        old.acknowledge(old.last)

    def _abandon_spool(self, error: StreamvisError) -> None:
        """Leaves a spool that cannot be read where it is and goes on as a new writer."""
        self.counts["errors"] += 1
        _log.error("%s; it is left there, and later points of %r go on without it", error, self._label)
        self._close_spool(self._spool)
        self._losses += self._spool.take_losses()
        self._lost += self._spool.take_lost()
        self._before = self.offered
        self._begin_writer()
        self._set_aside.clear()
        self._outbox.clear()
        self._disconnect()

    def close(self) -> Sequence[Batch]:
        """Closes the link; what is unacknowledged is on disk afterwards, but for those given: the disk takes none."""
        self._disconnect()
        self.secure()
        self._close_spool(self._spool)
        return self._outbox.batches if self.stuck else ()

    def _close_spool(self, spool: Spool) -> None:
        try:
            spool.close()
        except SpoolError as error:
            self.counts["errors"] += 1
            _log.error("%s; points of %r may be missing there", error, self._label)


def _emptied(batch: Batch) -> Batch:
    return Batch(batch.writer, batch.number)


def _handles(batch: Batch) -> Iterable[int]:
    """What the batch adds to."""
    return [*([CONFIGS] if batch.configs else []), *(block.topic for block in batch.blocks)]
