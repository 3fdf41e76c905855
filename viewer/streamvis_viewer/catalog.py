"""What exists, for the first page: scopes with their configs and status, names with their columns. Pure.

Every entry knows the version at which it last changed, so that an open page is told of changes alone.
"""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from streamvis import Topic, Update

MOST_KEYS = 200
"""Hyperparameters that pages are told of."""


@dataclass(slots=True)
class Scope:
    """One run."""

    topics: int = 0
    config: Mapping[str, Any] = field(default_factory=dict)
    status: Mapping[str, Any] = field(default_factory=dict)
    order: int = 0
    changed: int = 0


@dataclass(slots=True)
class Name:
    """What was logged under one name, in all scopes; `examples` has a topic for each set of columns."""

    scopes: int = 0
    examples: dict[tuple[str, ...], Topic] = field(default_factory=dict)
    shapes: Counter[tuple[str, ...]] = field(default_factory=Counter)


def flat_keys(config: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, None]]:
    """The names of a config's values, with dots between nested ones; as items of a dict."""
    for name, value in config.items():
        if isinstance(value, Mapping):
            yield from flat_keys(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", None


class Catalog:
    """Follows the updates of the feed."""

    def __init__(self) -> None:
        self.epoch = secrets.token_hex(4)
        """Of this process: versions of another mean nothing here."""
        self.version = 0
        self.shapes_version = 0
        """The version at which a name or a set of columns last came or went."""
        self.scopes: dict[str, Scope] = {}
        self.names: dict[str, Name] = {}
        self.topics: dict[int, Topic] = {}
        self._gone: dict[str, int] = {}
        self._keys: dict[str, None] = {}
        self._next = 0

    def take(self, updates: Iterable[Update]) -> None:
        """What the data server told."""
        self.version += 1
        for update in updates:
            for topic in update.topics:
                if topic.deleted:
                    self._remove(topic.id)
                elif topic.id not in self.topics:
                    self._add(topic)
            for config in update.configs:
                self._keys.update(flat_keys(config.values))
                scope = self._scope(config.scope)
                scope.config, scope.changed = config.values, self.version

    def take_status(self, statuses: Iterable[tuple[str, Mapping[str, Any]]]) -> None:
        """How the runs are doing, by scope."""
        self.version += 1
        for scope, status in statuses:
            known = self.scopes.get(scope)
            if known and known.status != status:
                known.status, known.changed = status, self.version

    def since(self, version: int) -> tuple[dict[str, Scope], list[str]]:
        """Scopes that have changed after a version, and those that are gone since. A scope without topics is none."""
        changed = {name: scope for name, scope in self.scopes.items() if scope.changed > version and scope.topics}
        return changed, [name for name, at in self._gone.items() if at > version]

    @property
    def examples(self) -> list[Topic]:
        """A topic for each name and set of columns, in the order in which they came."""
        return [topic for name in self.names.values() for topic in name.examples.values()]

    @property
    def config_keys(self) -> list[str]:
        """Hyperparameters that any scope ever had, nested ones with dots, in the order in which they came."""
        return list(self._keys)[:MOST_KEYS]

    def _scope(self, name: str) -> Scope:
        if name not in self.scopes:
            self._next += 1
            self.scopes[name] = Scope(order=self._next)
        return self.scopes[name]

    def _add(self, topic: Topic) -> None:
        self.topics[topic.id] = topic
        scope = self._scope(topic.scope)
        scope.topics, scope.changed = scope.topics + 1, self.version
        self._gone.pop(topic.scope, None)
        name = self.names.setdefault(topic.name, Name())
        name.scopes += 1
        name.shapes[topic.columns] += 1
        if topic.columns not in name.examples:
            name.examples[topic.columns] = topic
            self.shapes_version = self.version

    def _remove(self, number: int) -> None:
        topic = self.topics.pop(number, None)
        if topic is None:
            return
        scope, name = self.scopes[topic.scope], self.names[topic.name]
        scope.topics, scope.changed = scope.topics - 1, self.version
        name.scopes -= 1
        name.shapes[topic.columns] -= 1
        if not scope.topics:
            self._gone[topic.scope] = self.version
        if not name.shapes[topic.columns]:
            del name.shapes[topic.columns], name.examples[topic.columns]
            self.shapes_version = self.version
        if not name.examples:
            del self.names[topic.name]
