"""What a reader has been sent, and what it is to be sent next: from the store, then from live commits.

Pure: knows stores and commits, but neither gRPC nor the event loop.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain

from streamvis.codec import EncodedBlock
from streamvis.errors import ConflictError
from streamvis.filters import Patterns
from streamvis.records import Change, Config, Listing, Query, Topic, pack_cursor, unpack_cursor
from streamvis.reduce import Reduction
from streamvis.server.reduced import reduced
from streamvis.storage.base import Catalog, Commit, Store
from streamvis.wire import dump_config

MESSAGE_BYTES = 1 << 20
"""About what one message carries: larger ones gain nothing, smaller ones cost per message."""

LISTINGS = 256
"""Topics whose lengths are read at a time."""


class Selection:
    """The topics that a query selects."""

    def __init__(self, query: Query, patterns: Patterns) -> None:
        """Raises PatternError."""
        self._topics = frozenset(query.topics)
        scopes = {scope for scope, _ in query.topics}
        if not scopes and query.exact and query.scope_filter is not None:
            scopes = {query.scope_filter}
        self.scopes = frozenset(scopes) or None
        """Those that topics can be of; None: any."""
        self._scope = None if query.scope_filter is None else _matcher(query.scope_filter, query.exact, patterns)
        self._names = [_matcher(name, query.exact, patterns) for name in query.name_filters]

    def has_scope(self, scope: str) -> bool:
        """Whether topics of the scope may be selected; then its config is."""
        if self.scopes is not None:
            return scope in self.scopes
        return self._scope is None or self._scope(scope)

    def has(self, scope: str, name: str) -> bool:
        """Whether that topic is selected."""
        if self._topics:
            return (scope, name) in self._topics
        return self.has_scope(scope) and (not self._names or any(matches(name) for matches in self._names))


def _matcher(text: str, exact: bool, patterns: Patterns) -> Callable[[str], bool]:
    return text.__eq__ if exact else patterns.get(text).matches


@dataclass(slots=True, eq=False)
class View:
    """One query and how far its reader has been brought: everything up to `seq` has been sent."""

    selection: Selection
    seq: int = 0
    with_blocks: bool = True
    reduction: Reduction | None = None
    started: bool = False
    topics: set[int] = field(default_factory=set)
    """Ids of the live topics that are selected."""

    def catch_up(self, store: Store) -> Iterator[Change]:
        """What the store holds beyond `seq`, in messages of about MESSAGE_BYTES; blocking."""
        changed = store.catalog(self.seq, self.selection.scopes)
        topics = [topic for topic in self._missed(changed, store) if self.selection.has(topic.scope, topic.name)]
        configs = [config for config in changed.configs if self.selection.has_scope(config.scope)]
        self._note(topics)
        reloaded = {topic.id for topic in topics if self.with_blocks and topic.id <= self.seq < topic.restored}
        starts = {id_: 0 if id_ in reloaded else self.seq for id_ in sorted(self.topics) if self.with_blocks}
        blocks: Iterable[EncodedBlock | None]
        told = chain.from_iterable(_anew(topic) if topic.id in reloaded else (topic,) for topic in topics)
        if self.reduction is None:
            blocks = chain.from_iterable(store.blocks(id_, start, changed.seq) for id_, start in starts.items())
        else:
            ends = [(topic, starts[topic.id], changed.seq) for topic in topics if topic.id in starts]
            blocks = chain.from_iterable(reduced(store, *end, self.reduction) for end in ends)
        yield from messages(chain(told, configs, blocks))
        self.seq, self.started = changed.seq, True

    def _missed(self, changed: Catalog, store: Store) -> Iterable[Topic]:
        """Topics that changed; at first, all live ones, because the reader may know none of them by id."""
        if self.started or not self.seq:
            return changed.topics
        return [
            *(topic for topic in changed.topics if topic.deleted),
            *store.catalog(scopes=self.selection.scopes).topics,
        ]

    def is_reloaded_by(self, commit: Commit) -> bool:
        """Whether the commit restores a topic that is selected: its blocks are in the store, not in the commit."""
        return any(t.restored > self.seq and self.selection.has(t.scope, t.name) for t in commit.topics)

    def select(self, commit: Commit) -> tuple[list[Topic], list[Config], set[int]]:
        """What the commit has for this view: topics, configs, and the ids whose blocks it wants."""
        if commit.seq <= self.seq:
            return [], [], set()
        topics = [topic for topic in commit.topics if self.selection.has(topic.scope, topic.name)]
        configs = [config for config in commit.configs if self.selection.has_scope(config.scope)]
        self._note(topics)
        self.seq = commit.seq
        return topics, configs, self.topics if self.with_blocks else set()

    def _note(self, topics: Iterable[Topic]) -> None:
        for topic in topics:
            if topic.deleted:
                self.topics.discard(topic.id)
            else:
                self.topics.add(topic.id)


def seq_of(cursor: bytes, store: Store) -> int:
    """Where a cursor stands in the store. Raises MalformedError, and ConflictError for one of another store's."""
    seqs = unpack_cursor(cursor)
    if not seqs:
        return 0
    seq, latest = seqs.get(store.timeline), store.seq()
    if seq is None or seq > latest:
        what = "of other data" if seq is None else f"at change {seq}, but the latest change stored is {latest}"
        raise ConflictError(
            f"the cursor is {what}: the server's data was replaced; read again from the beginning, without a cursor"
        )
    return seq


def listings(store: Store, selection: Selection, with_lengths: bool) -> Iterator[list[Listing]]:
    """The live topics of a selection, oldest first, some at a time; blocking."""
    topics = [
        topic for topic in store.catalog(scopes=selection.scopes).topics if selection.has(topic.scope, topic.name)
    ]
    for start in range(0, len(topics), LISTINGS):
        yield [
            Listing(topic, store.lengths(topic.id) if with_lengths else {})
            for topic in topics[start : start + LISTINGS]
        ]


def live(views: Sequence[View], commits: Sequence[Commit], timeline: int) -> Iterator[Change]:
    """What commits have for the views, each thing once; the last message, if there is any, has the cursor."""
    topics: dict[Topic, None] = {}
    configs: dict[str, Config] = {}
    blocks: list[EncodedBlock] = []
    for commit in commits:
        wanted: set[int] = set()
        for view in views:
            new_topics, new_configs, ids = view.select(commit)
            topics.update(dict.fromkeys(new_topics))
            configs.update({config.scope: config for config in new_configs})
            wanted |= ids.intersection(block.topic for block in commit.blocks)
        blocks += [block for block in commit.blocks if block.topic in wanted]
    gone = {topic.id for topic in topics if topic.deleted}
    kept = (block for block in blocks if block.topic not in gone)
    changes = list(messages(chain(topics, configs.values(), kept)))
    if changes:
        yield from changes[:-1]
        yield replace(changes[-1], cursor=pack_cursor({timeline: commits[-1].seq}))


def messages(items: Iterable[Topic | Config | EncodedBlock | None]) -> Iterator[Change]:
    """The items, in their order, as changes of about MESSAGE_BYTES; an empty one for each None.

    Topics and configs come before blocks.
    """
    pile: list[Topic | Config | EncodedBlock] = []
    size = 0
    for item in items:
        if item is None:
            yield Change()
            continue
        cost = _cost(item)
        if pile and size + cost > MESSAGE_BYTES:
            yield _change(pile)
            pile, size = [], 0
        pile.append(item)
        size += cost
    if pile:
        yield _change(pile)


def _change(pile: Iterable[Topic | Config | EncodedBlock]) -> Change:
    topics: list[Topic] = []
    configs: list[Config] = []
    blocks: list[EncodedBlock] = []
    for item in pile:
        if isinstance(item, EncodedBlock):
            blocks.append(item)
        elif isinstance(item, Topic):
            topics.append(item)
        else:
            configs.append(item)
    return Change(tuple(topics), tuple(configs), tuple(blocks))


def _cost(item: Topic | Config | EncodedBlock) -> int:
    """Bytes on the wire, roughly."""
    if isinstance(item, EncodedBlock):
        return item.size + 32
    if isinstance(item, Topic):
        return 4 * (len(item.scope) + len(item.name) + sum(map(len, item.columns))) + 32
    return len(dump_config(item.values)) + len(item.scope) * 4


def _anew(topic: Topic) -> tuple[Topic, Topic]:
    """What makes a reader forget the points that it may have of a restored topic, and expect all of them."""
    return replace(topic, deleted=True, restored=0), topic
