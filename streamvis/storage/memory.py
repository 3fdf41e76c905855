"""MemoryStore: the whole store in dictionaries. What it says is what the other engines must say."""

from __future__ import annotations

import time
from bisect import bisect_right
from collections import Counter
from collections.abc import Collection, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field, replace
from threading import Lock
from typing import Any

import numpy as np

from streamvis.clock import steady_time
from streamvis.codec import EncodedBlock
from streamvis.errors import NotFoundError, UsageError
from streamvis.records import (
    CONFIGS,
    Ack,
    Batch,
    Config,
    Declaration,
    Report,
    Size,
    Topic,
    TopicSize,
    Usage,
    pack_cursor,
)
from streamvis.storage.base import (
    FREE_BYTES,
    PAGE_BYTES,
    Catalog,
    Commit,
    Extent,
    Page,
    Store,
    Submission,
    new_timeline,
)
from streamvis.storage.rules import (
    GONE,
    REJECTED,
    STILL_REJECTED,
    binding,
    merge,
    merged_config,
    missing,
    not_in_trash,
    to_restore,
)
from streamvis.wire import dump_config


@dataclass(slots=True)
class _Changes:
    topics: list[Topic] = field(default_factory=list)
    configs: list[Config] = field(default_factory=list)
    blocks: list[EncodedBlock] = field(default_factory=list)


class MemoryStore(Store):
    """Keeps everything until it is closed, and nothing after; for tests and for trying things out."""

    def __init__(self) -> None:
        self.timeline = new_timeline()
        self._lock = Lock()
        self._seq = 0
        self._numbers: dict[str, int] = {}
        self._live: dict[tuple[str, str], Topic] = {}
        # Each with the number of its latest change, in the order of those numbers.
        self._topics: dict[int, tuple[int, Topic]] = {}
        self._configs: dict[str, tuple[int, Config]] = {}
        self._blocks: dict[int, list[tuple[int, EncodedBlock]]] = {}
        self._deleted_configs: dict[str, Mapping[str, Any]] = {}
        self._reports: dict[str, Report] = {}
        self._deleted_at: dict[int | str, float] = {}  # of topics by id, of configs by scope

    def append(self, submissions: Sequence[Submission]) -> tuple[list[Ack], Commit]:
        """See Store."""
        with self._lock:
            changes = _Changes()
            acks = [self._submit(submission, changes) for submission in submissions]
            cursor = pack_cursor({self.timeline: self._seq})
            return [replace(ack, cursor=cursor) if ack.stored else ack for ack in acks], self._commit(changes)

    def _submit(self, submission: Submission, changes: _Changes) -> Ack:
        batch, bindings = submission.batch, submission.bindings
        expected = self._numbers.get(batch.writer, 0) + 1
        if batch.number > expected:
            return Ack(batch.number, expected=expected)
        fresh = batch.number == expected
        if fresh:
            if gone := self._gone(batch, bindings):
                return Ack(batch.number, gone=gone)
            self._begin(batch, changes)
        rejected = self._bind(batch, bindings)
        for config in batch.configs if fresh else ():
            try:
                self._configure(config, changes)
            except UsageError as error:
                rejected[CONFIGS] = str(error)
        if fresh:
            for block in batch.blocks:
                if block.topic not in rejected:
                    self._add(block._replace(topic=bindings[block.topic]), changes)
        return Ack(batch.number, rejected=rejected)

    def _begin(self, batch: Batch, changes: _Changes) -> None:
        self._numbers[batch.writer] = batch.number
        if batch.status:
            self._reports[batch.writer] = Report(batch.writer, batch.status, steady_time())
        for declaration in batch.declarations:
            self._declare(declaration, changes)

    def _gone(self, batch: Batch, bindings: Mapping[int, int]) -> tuple[int, ...]:
        declared = {declaration.handle for declaration in batch.declarations}
        replaced = {(declaration.scope, declaration.name) for declaration in batch.declarations if declaration.replace}
        standing = {topic.id for name, topic in self._live.items() if name not in replaced} | {REJECTED}
        handles = dict.fromkeys(block.topic for block in batch.blocks)
        return tuple(h for h in handles if h not in declared and bindings.get(h, GONE) not in standing)

    def _declare(self, declaration: Declaration, changes: _Changes) -> None:
        scope, name = declaration.scope, declaration.name
        live = self._live.get((scope, name))
        if live and declaration.replace:
            self._tombstone(live, changes)
        if not live or declaration.replace:
            topic = Topic(self._tick(), scope, name, declaration.columns)
            self._live[scope, name] = topic
            self._topics[topic.id] = topic.id, topic
            changes.topics.append(topic)

    def _bind(self, batch: Batch, bindings: MutableMapping[int, int]) -> dict[int, str]:
        rejected = {}
        for declaration in batch.declarations:
            live = self._live.get((declaration.scope, declaration.name))
            bindings[declaration.handle], reason = binding(declaration, live)
            if reason:
                rejected[declaration.handle] = reason
        for block in batch.blocks:
            if bindings.get(block.topic) == REJECTED:
                rejected.setdefault(block.topic, STILL_REJECTED)
        return rejected

    def _add(self, block: EncodedBlock, changes: _Changes) -> None:
        self._blocks.setdefault(block.topic, []).append((self._tick(), block))
        changes.blocks.append(block)

    def set_config(self, config: Config) -> Commit:
        """See Store."""
        with self._lock:
            changes = _Changes()
            self._configure(config, changes)
            return self._commit(changes)

    def _configure(self, patch: Config, changes: _Changes) -> None:
        _, config = self._configs.get(patch.scope, (0, Config(patch.scope, {})))
        self._replace_config(Config(patch.scope, merged_config(patch.scope, config.values, patch.values)), changes)

    def _replace_config(self, config: Config, changes: _Changes) -> None:
        self._configs.pop(config.scope, None)
        self._configs[config.scope] = self._tick(), config
        changes.configs.append(config)

    def delete(self, scope: str, names: Sequence[str] = ()) -> Commit:
        """See Store."""
        with self._lock:
            changes = _Changes()
            live = sorted((topic for topic in self._live.values() if topic.scope == scope), key=lambda topic: topic.id)
            doomed = [topic for topic in live if not names or topic.name in names]
            _, config = self._configs.get(scope, (0, Config(scope, {})))
            forget = not names and bool(config.values)
            if not doomed and not forget:
                raise NotFoundError(missing(scope, tuple(names)))
            for topic in doomed:
                self._tombstone(topic, changes)
            if forget:
                self._deleted_configs[scope] = config.values
                self._deleted_at[scope] = time.time()
                self._replace_config(Config(scope, {}), changes)
            return self._commit(changes)

    def _tombstone(self, topic: Topic, changes: _Changes) -> None:
        del self._live[topic.scope, topic.name]
        self._deleted_at[topic.id] = time.time()
        self._change(replace(topic, deleted=True, restored=0), self._tick(), changes)

    def _change(self, topic: Topic, number: int, changes: _Changes) -> None:
        del self._topics[topic.id]
        self._topics[topic.id] = number, topic
        changes.topics.append(topic)

    def restore(self, scope: str, names: Sequence[str] = ()) -> Commit:
        """See Store."""
        with self._lock:
            changes = _Changes()
            live = {name for owner, name in self._live if owner == scope}
            topics = to_restore(names, self._trash(scope), live)
            config = None if names else self._deleted_configs.get(scope)
            if not topics and config is None:
                raise NotFoundError(not_in_trash(scope, names, "restored"))
            for topic in topics:
                number = self._tick()
                self._live[scope, topic.name] = replace(topic, deleted=False, restored=number)
                self._change(self._live[scope, topic.name], number, changes)
            if config is not None:
                del self._deleted_configs[scope]
                _, since = self._configs[scope]
                self._replace_config(Config(scope, merge(config, since.values)), changes)
            return self._commit(changes)

    def _trash(self, scope: str) -> list[Topic]:
        """In the order of deletion."""
        return [topic for _, topic in self._topics.values() if topic.deleted and topic.columns and topic.scope == scope]

    def purge(self, scope: str, names: Sequence[str] = ()) -> int:
        """See Store."""
        with self._lock:
            topics = [topic for topic in self._trash(scope) if not names or topic.name in names]
            config = None if names else self._deleted_configs.pop(scope, None)
            if not topics and config is None:
                raise NotFoundError(not_in_trash(scope, names, "purged"))
            for topic in topics:
                self._topics[topic.id] = self._topics[topic.id][0], replace(topic, columns=())
            return len(topics)

    def free(self, max_bytes: int = FREE_BYTES) -> bool:
        """See Store."""
        with self._lock:
            freed = 0
            for topic in sorted(id_ for id_, (_, topic) in self._topics.items() if not topic.columns):
                blocks = self._blocks.get(topic, [])
                while blocks and freed < max_bytes:
                    freed += max(blocks.pop(0)[1].size, PAGE_BYTES)
                if blocks:
                    return True
            return False

    def _tick(self) -> int:
        self._seq += 1
        return self._seq

    def _commit(self, changes: _Changes) -> Commit:
        return Commit(self._seq, tuple(changes.topics), tuple(changes.configs), tuple(changes.blocks))

    def close(self) -> None:
        """Does nothing: the memory goes with the object."""

    def seq(self) -> int:
        """See Store."""
        return self._seq

    def catalog(self, after: int = 0, scopes: Collection[str] | None = None) -> Catalog:
        """See Store."""
        with self._lock:
            topics = (t for number, t in self._topics.values() if number > after and (after or not t.deleted))
            configs = (c for number, c in self._configs.values() if number > after and (after or c.values))
            return Catalog(self._seq, tuple(topics), tuple(configs)).only(scopes)

    def page(self, topic: int, after: int, upto: int, max_bytes: int, previous: Page | None = None) -> Page:
        """See Store."""
        after = previous.after if previous else after
        with self._lock:
            stored = self._blocks.get(topic, [])
            first, stop = (bisect_right(stored, number, key=lambda entry: entry[0]) for number in (after, upto))
            size, last = 0, first
            while last < stop and (last == first or size + stored[last][1].size <= max_bytes):
                size += stored[last][1].size
                last += 1
            blocks = tuple(block for _, block in stored[first:last])
            return Page(blocks, stored[last - 1][0] if blocks else after, last >= stop)

    def extents(self, topic: int, upto: int) -> list[Extent]:
        """See Store."""
        with self._lock:
            stored = self._blocks.get(topic, [])
            stored = stored[: bisect_right(stored, upto, key=lambda entry: entry[0])]
        return [Extent(b.index, b.k, np.array([number]), np.array([b.n])) for number, b in stored]

    def usage(self) -> list[Usage]:
        """See Store."""
        found: dict[str, dict[bool, Size]] = {}
        with self._lock:
            for _, topic in sorted(self._topics.values(), key=lambda entry: entry[1].id):
                if topic.columns:
                    sizes, size = found.setdefault(topic.scope, {}), self._size(topic)
                    sizes[topic.deleted] = sizes.get(topic.deleted, Size()) + Size(1, size.points, size.bytes)
        return [Usage(scope, sizes.get(False, Size()), sizes.get(True, Size())) for scope, sizes in found.items()]

    def topic_sizes(self, scope: str | None = None, *, deleted: bool = False) -> list[TopicSize]:
        """See Store."""
        with self._lock:
            topics = [topic for _, topic in self._topics.values() if topic.columns and topic.deleted == deleted]
            found = [self._size(topic) for topic in topics]
            for owner, values in self._deleted_configs.items() if deleted else ():
                found.append(TopicSize(owner, "", 0, len(dump_config(values)), self._deleted_at[owner]))
        return [size for size in found if scope is None or size.scope == scope]

    def _size(self, topic: Topic) -> TopicSize:
        blocks = [block for _, block in self._blocks.get(topic.id, [])]
        points, bytes_ = sum(b.k * b.n for b in blocks), sum(len(b.columns) + len(b.payload) for b in blocks)
        return TopicSize(topic.scope, topic.name, points, bytes_, self._deleted_at[topic.id] if topic.deleted else None)

    def reports(self) -> list[Report]:
        """See Store."""
        with self._lock:
            live = {scope for scope, _ in self._live} | {c.scope for _, c in self._configs.values() if c.values}
            gone = {topic.scope for _, topic in self._topics.values()} | {*self._deleted_configs}
            found = [it for it in self._reports.values() if it.status.scope in live or it.status.scope not in gone]
        return sorted(found, key=lambda report: (report.status.started, report.writer))

    def lengths(self, topic: int) -> Mapping[int, int]:
        """See Store."""
        with self._lock:
            points: Counter[int] = Counter()
            for _, block in self._blocks.get(topic, []):
                for index in range(block.index, block.index + block.k):
                    points[index] += block.n
            return dict(sorted(points.items()))
