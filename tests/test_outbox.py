"""The outbox against a model of the server: every batch is stored once and in order, whatever is lost on the way."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamvis.errors import MalformedError
from streamvis.outbox import Outbox
from streamvis.records import Ack, Batch, Declaration


class Server:
    """What the protocol promises of a server: numbers in order, retries recognised, unknown handles never used."""

    def __init__(self) -> None:
        self.stored: list[int] = []
        self.bound: set[int] = set()
        self.gone: set[int] = set()

    def take(self, batch: Batch) -> Ack:
        declared = {declaration.handle for declaration in batch.declarations}
        if batch.number <= len(self.stored):
            self.bound |= declared
            return Ack(batch.number)
        if batch.number > len(self.stored) + 1:
            return Ack(batch.number, expected=len(self.stored) + 1)
        self.gone -= declared
        self.bound |= declared
        assert 1 in self.bound
        if self.gone:
            return Ack(batch.number, gone=tuple(self.gone))
        self.stored.append(batch.number)
        return Ack(batch.number)


def _batch(number: int) -> Batch:
    return Batch("w", number, (Declaration(1, "run", "loss", ("x",)),))


@given(st.lists(st.sampled_from(["add", "send", "send", "answer", "answer", "cut", "delete"]), max_size=80))
def test_every_batch_is_stored_once_in_order(actions: list[str]) -> None:
    """Through lost connections, answers that never come and topics deleted underneath."""
    outbox, server = Outbox(), Server()
    added, wire, answers, acknowledged = 0, list[Batch](), list[Ack](), 0

    def act(action: str) -> None:
        nonlocal added, acknowledged
        if action == "add":
            added += 1
            outbox.add(_batch(added))
        elif action == "send" and (batch := outbox.next()):
            wire.append(batch)
        elif action == "answer" and wire:
            answers.append(server.take(wire.pop(0)))
            settled = outbox.settle(answers.pop(0))
            acknowledged += settled.batch is not None
        elif action == "cut":
            for batch in wire[: len(wire) // 2]:  # some arrived, and their answers were lost
                server.take(batch)
            wire.clear()
            server.bound.clear()
            outbox.restart()
        elif action == "delete":
            server.gone |= server.bound

    for action in actions:
        act(action)
    while len(outbox):
        act("send")
        act("answer")
    assert server.stored == list(range(1, added + 1))
    assert acknowledged == added
    assert outbox.nbytes == 0


def test_a_topic_is_declared_once_per_stream() -> None:
    """Column names travel with the first batch of a stream alone."""
    outbox = Outbox()
    for number in (1, 2):
        outbox.add(_batch(number))
    sent = [outbox.next(), outbox.next()]
    assert [len(batch.declarations) for batch in sent if batch] == [1, 0]
    outbox.restart()
    again = [outbox.next(), outbox.next()]
    assert [len(batch.declarations) for batch in again if batch] == [1, 0]


def test_a_server_that_lost_its_data_is_noticed() -> None:
    """A gap before the first unacknowledged batch cannot be filled: what is lost is named."""
    outbox = Outbox()
    outbox.add(_batch(57))
    outbox.next()
    assert outbox.settle(Ack(57, expected=1)).lost_from == 1


def test_an_answer_to_nothing_is_refused() -> None:
    """An ack that was not asked for means that the stream cannot be trusted."""
    with pytest.raises(MalformedError, match="acknowledged batch 3"):
        Outbox().settle(Ack(3))
