"""Store: what every engine promises.

* One clock. Every change — topic declared, deleted or restored, block, config — gets a number from one counter inside
  the committing transaction, so "everything after n" never misses and never repeats anything.
* Exactly once. A batch carries (writer, number); the writer's row advances in the same transaction. A batch seen
  before is a no-op, a batch that skips a number is refused.
* The trash. A deleted topic keeps its blocks until it is restored, under its old id, or purged. A purged one stays a
  tombstone, without columns, so that late readers still hear of the delete.
* Durable when `append` returns, and all or nothing: a batch is stored whole, except for blocks of rejected topics.
* Compaction changes how blocks are cut, never which points lie between two numbers, nor their order or dtype.
* One thread at a time calls the methods that write. Those that read may be called from any thread, beside it, and never
  wait for it nor delay it.
"""

from __future__ import annotations

import math
import secrets
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field, replace

from streamvis.codec import EncodedBlock
from streamvis.columns import Array
from streamvis.records import Ack, Batch, Config, Report, Topic, TopicSize, Usage
from streamvis.storage.merging import joined


@dataclass(frozen=True, slots=True)
class Submission:
    """A batch and the bindings of its stream: handle → topic id, which `append` extends by the batch's declarations."""

    batch: Batch
    bindings: MutableMapping[int, int]


@dataclass(frozen=True, slots=True)
class Commit:
    """What one transaction changed, for live readers. `blocks` carry topic ids and are in order of their numbers."""

    seq: int
    topics: tuple[Topic, ...] = ()
    configs: tuple[Config, ...] = ()
    blocks: tuple[EncodedBlock, ...] = ()


@dataclass(frozen=True, slots=True)
class Catalog:
    """Topics and configs that changed after a number, as of one snapshot at `seq`."""

    seq: int
    topics: tuple[Topic, ...]
    configs: tuple[Config, ...]

    def only(self, scopes: Collection[str] | None) -> Catalog:
        """Those of some scopes; None: all."""
        if scopes is None:
            return self
        topics = tuple(topic for topic in self.topics if topic.scope in scopes)
        return replace(self, topics=topics, configs=tuple(c for c in self.configs if c.scope in scopes))


@dataclass(frozen=True, slots=True)
class Page:
    """Blocks of one topic in order; `after` is where the next page begins, `done` says that none is left."""

    blocks: tuple[EncodedBlock, ...] = field(repr=False)
    after: int
    done: bool
    seen: Mapping[tuple[int, int], int] = field(default_factory=dict, repr=False, compare=False)
    """For each index and k, up to which number this page and those before it have the points."""


@dataclass(frozen=True, slots=True, eq=False)
class Extent:
    """Where points lie: those of indexes `index` to `index + k - 1`, under each number so many of each index."""

    index: int
    k: int
    numbers: Array
    points: Array


TIMELINES = range(1 << 31)
"""What a timeline may be: an INTEGER in every engine, four bytes of a cursor."""

READ_BYTES = 1 << 20
"""About what one page has."""

PAGE_BYTES = 4096

FREE_BYTES = 4 << 20
"""About what one transaction of `free` frees; it takes some milliseconds."""


def new_timeline() -> int:
    """That of a store, or of a copy of one, which is being made."""
    return secrets.choice(TIMELINES)


class Store(ABC):
    """Topics, blocks, configs and writers, in one order. See the module for the promises."""

    timeline: int
    """Whose the numbers of this store are: drawn when it was made, so that cursors of another store are told apart."""

    # ---- writing: the committing thread only

    @abstractmethod
    def append(self, submissions: Sequence[Submission]) -> tuple[list[Ack], Commit]:
        """Stores batches in one transaction; one ack each, in order.

        Per batch: a number seen before is acknowledged again; a gap is answered with `expected`; handles bound to a
        deleted topic with `gone`. A declaration whose columns differ from the live topic's is `rejected` with a reason
        naming both sets, and the batch's blocks of that handle are left out; so is a config, under the handle CONFIGS,
        that would become too large or too deep. Declarations of a repeated batch bind but never replace. The caller
        has checked that each handle was declared on its stream, and that no batch declares a handle or a topic twice.
        Raises StoreFullError when the disk is full: then nothing is stored.
        """

    @abstractmethod
    def set_config(self, config: Config) -> Commit:
        """Merges the values deeply into the scope's config, later keys win; the commit has the whole config.

        Raises UsageError for one that would be too large or too deep; then nothing is stored.
        """

    @abstractmethod
    def delete(self, scope: str, names: Sequence[str] = ()) -> Commit:
        """Tombstones the scope's live topics of those names, or all and its config. Raises NotFoundError for none."""

    @abstractmethod
    def restore(self, scope: str, names: Sequence[str] = ()) -> Commit:
        """Makes the scope's topics of those names in the trash live again, or all and its config.

        Of several topics of one name the one that was deleted last. Of a config, keys that were set since win. Raises
        ConflictError while a live topic has one of the names, NotFoundError for none; then nothing is restored.
        """

    @abstractmethod
    def purge(self, scope: str, names: Sequence[str] = ()) -> int:
        """Empties the trash of the scope's topics of those names, or of all and its config; returns how many topics.

        They can be restored no more, and `free` frees their blocks. No change for readers. Raises NotFoundError for
        none.
        """

    @abstractmethod
    def free(self, max_bytes: int = FREE_BYTES) -> bool:
        """Frees blocks of purged topics in one transaction, oldest topics first; whether any are left for the next.

        Frees about so many bytes, at least one block; a block counts at least PAGE_BYTES.
        """

    def checkpoint(self) -> None:  # noqa: B027 - most engines have nothing to do
        """Housekeeping between commits; any thread may call it, often. Nothing by default."""

    def compact(self) -> float:
        """One small step of merging stored blocks into larger ones. Nothing by default.

        Returns in how many seconds there is more to do: below 0.0 for how long there has been, infinity that there will
        not be before the next `append`. Raises StoreFullError when the disk is full: then nothing has changed.
        """
        return math.inf

    @abstractmethod
    def close(self) -> None:
        """Releases files and locks. A second call does nothing."""

    # ---- reading: any thread

    @abstractmethod
    def seq(self) -> int:
        """The number of the latest change."""

    @abstractmethod
    def catalog(self, after: int = 0, scopes: Collection[str] | None = None) -> Catalog:
        """Topics and configs changed after that number; with `after=0` only live topics, oldest first.

        With `scopes` only those of these; then `after=0` is as quick as they are few, whatever else is stored.
        """

    @abstractmethod
    def page(self, topic: int, after: int, upto: int, max_bytes: int, previous: Page | None = None) -> Page:
        """Blocks of a topic with after < number <= upto, oldest first: as many as fit, at least one if there is one.

        `previous` is the page before, asked for with the same numbers: the pages together have every point once,
        though blocks may be compacted between them.
        """

    def blocks(self, topic: int, after: int, upto: int, max_bytes: int = READ_BYTES) -> Iterator[EncodedBlock]:
        """All points of a topic with after < number <= upto, read in pages; small blocks are put together."""
        page = self.page(topic, after, upto, max_bytes)
        yield from joined(page.blocks)
        while not page.done:
            page = self.page(topic, after, upto, max_bytes, page)
            yield from joined(page.blocks)

    @abstractmethod
    def extents(self, topic: int, upto: int) -> list[Extent]:
        """Where the points of a topic up to that number lie, in order, without reading them."""

    @abstractmethod
    def usage(self) -> list[Usage]:
        """What each scope that has topics takes, live or in the trash; oldest first. Reads no blocks."""

    @abstractmethod
    def topic_sizes(self, scope: str | None = None, *, deleted: bool = False) -> list[TopicSize]:
        """What each topic takes, of one scope or all: the live ones, oldest first, or those in the trash.

        Those in the order of their deletion, and then configs. Reads no blocks.
        """

    @abstractmethod
    def reports(self) -> list[Report]:
        """The latest status of every writer that sent one, but for scopes that are in the trash as a whole."""

    @abstractmethod
    def lengths(self, topic: int) -> Mapping[int, int]:
        """Points under each index of the topic."""
