"""What a commit changes, decided in memory; the SQL engines share it. Pure."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping, Sequence
from dataclasses import replace
from typing import Any

from streamvis.codec import EncodedBlock
from streamvis.errors import UsageError
from streamvis.records import CONFIGS, Ack, Batch, Config, Declaration, Status, Topic
from streamvis.storage.base import Commit, Submission
from streamvis.storage.rules import GONE, REJECTED, STILL_REJECTED, binding, merged_config


class Plan:
    """What one transaction changes, decided from the rows that it may touch, which its attributes are given first."""

    def __init__(self, seq: int, shard: int) -> None:
        self.seq = seq
        self.shard = shard
        self.live: set[int] = set()
        self.named: dict[tuple[str, str], Topic] = {}
        self.numbers: dict[str, int] = {}
        self.values: dict[str, dict[str, Any]] = {}
        self.new_numbers: dict[str, int] = {}
        self.statuses: dict[str, Status] = {}
        self.topics: list[tuple[int, Topic]] = []
        self.configs: list[tuple[int, Config]] = []
        self.blocks: list[EncodedBlock] = []
        self.rows: list[tuple[Any, ...]] = []
        self._bound: dict[int, tuple[MutableMapping[int, int], dict[int, int]]] = {}

    def submit(self, submission: Submission) -> Ack:
        """Decides about one batch. Bindings change in `bind`, when the transaction has ended."""
        batch = submission.batch
        expected = self.numbers.get(batch.writer, 0) + 1
        if batch.number > expected:
            return Ack(batch.number, expected=expected)
        bindings, new = self._bound.setdefault(id(submission.bindings), (submission.bindings, {}))
        handles = dict.fromkeys(block.topic for block in batch.blocks)
        bound = {handle: new.get(handle, bindings.get(handle, GONE)) for handle in handles}
        fresh = batch.number == expected
        if fresh:
            if gone := self._gone(batch, bound):
                return Ack(batch.number, gone=gone)
            self.numbers[batch.writer] = self.new_numbers[batch.writer] = batch.number
            if batch.status:
                self.statuses[batch.writer] = batch.status
            for declaration in batch.declarations:
                self._declare(declaration)
        rejected = self._bind(batch, new)
        for config in batch.configs if fresh else ():
            try:
                self.configure(config)
            except UsageError as error:
                rejected[CONFIGS] = str(error)
        bound.update((declaration.handle, new[declaration.handle]) for declaration in batch.declarations)
        rejected |= {
            handle: STILL_REJECTED for handle in handles if bound[handle] == REJECTED and handle not in rejected
        }
        if fresh:
            self._add(batch.blocks, bound)
        return Ack(batch.number, rejected=rejected)

    def _gone(self, batch: Batch, bound: Mapping[int, int]) -> tuple[int, ...]:
        declared = {declaration.handle for declaration in batch.declarations}
        names = [(declaration.scope, declaration.name) for declaration in batch.declarations if declaration.replace]
        replaced = {self.named[name].id for name in names if name in self.named}
        return tuple(
            handle
            for handle, topic in bound.items()
            if (topic not in self.live or topic in replaced) and topic != REJECTED and handle not in declared
        )

    def _declare(self, declaration: Declaration) -> None:
        live = self.named.get((declaration.scope, declaration.name))
        if live and declaration.replace:
            self.tombstone(live)
        if not live or declaration.replace:
            self.seq += 1
            topic = Topic(self.seq, declaration.scope, declaration.name, declaration.columns)
            self.named[topic.scope, topic.name] = topic
            self.live.add(topic.id)
            self.topics.append((self.seq, topic))

    def _bind(self, batch: Batch, new: dict[int, int]) -> dict[int, str]:
        """Binds each handle to what is live now that all of the batch's declarations are made; reasons if rejected."""
        rejected = {}
        for declaration in batch.declarations:
            live = self.named.get((declaration.scope, declaration.name))
            new[declaration.handle], reason = binding(declaration, live)
            if reason:
                rejected[declaration.handle] = reason
        return rejected

    def _add(self, blocks: Sequence[EncodedBlock], bound: Mapping[int, int]) -> None:
        # The innermost loop of the server: one block and one row each, made once.
        seq, shard, moved, rows = self.seq, self.shard, self.blocks, self.rows
        for block in blocks:
            topic = bound[block.topic]
            if topic == REJECTED:
                continue
            seq += 1
            index, k, n, crc, columns, payload = block.index, block.k, block.n, block.crc, block.columns, block.payload
            moved.append(EncodedBlock(topic, index, k, n, columns, payload, crc))
            rows.append((shard, seq, topic, index, k, n, crc, columns, payload))
        self.seq = seq

    def tombstone(self, topic: Topic) -> None:
        """Deletes a live topic."""
        self.seq += 1
        self.live.discard(topic.id)
        self.named.pop((topic.scope, topic.name), None)
        self.topics.append((self.seq, replace(topic, deleted=True, restored=0)))

    def restore(self, topic: Topic) -> None:
        """Makes a tombstone live again."""
        self.seq += 1
        self.topics.append((self.seq, replace(topic, deleted=False, restored=self.seq)))

    def configure(self, patch: Config) -> None:
        """Merges a patch into the scope's config. Raises UsageError if that is too much, and then changes nothing."""
        self.replace_config(patch.scope, merged_config(patch.scope, self.values.get(patch.scope, {}), patch.values))

    def replace_config(self, scope: str, values: dict[str, Any]) -> None:
        """Puts a whole config in the place of the scope's."""
        self.seq += 1
        self.values[scope] = values
        self.configs.append((self.seq, Config(scope, values)))

    def bind(self) -> None:
        """Extends the bindings of the streams; for after the commit."""
        for bindings, new in self._bound.values():
            bindings.update(new)

    def commit(self) -> Commit:
        """What live readers are told."""
        topics, configs = tuple(topic for _, topic in self.topics), tuple(config for _, config in self.configs)
        return Commit(self.seq, topics, configs, tuple(self.blocks))
