"""What became of the points that the server does not have: counted by name, said once, told to those who wait.

Dropped is what nobody took in time, neither the server nor the disk. Rejected is what the server refused for good, as
with other columns than the topic's; it is kept under SPOOL/rejected, or dropped when the disk does not take it.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from streamvis.drain import Unreadable
from streamvis.errors import BufferFullError, RejectedError, SpoolError, StreamvisError
from streamvis.records import CONFIGS, Batch
from streamvis.refused import Refused, only
from streamvis.spool import Loss

_log = logging.getLogger("streamvis")


class Losses:
    """Those of one logger; its sender's thread calls, but for what the attributes say.

    `dropped`: points by name, and configs under "config"; `rejected`: the reason by name; `errors`: how often a disk or
    a device failed.
    """

    def __init__(self, scope: str, refused: Refused) -> None:
        self.dropped: Counter[str] = Counter()
        self.rejected: dict[str, str] = {}
        self.errors = 0
        self._scope = scope
        self._refused = refused
        self._untold = False
        self._said: set[str] = set()

    def drop(self, batch: Batch, error: StreamvisError) -> None:
        """Nobody has taken that batch."""
        if not batch.blocks and not batch.configs:
            return  # a status alone; there will be others
        lost = batch.contents()
        self.count(lost)
        if self._is_new("dropped"):
            _log.error("points of %r are lost (%s): %s", self._scope, ", ".join(sorted(lost)), error)

    def count(self, points: Mapping[str, int]) -> None:
        """So many points of these names are lost."""
        self.dropped.update(points)
        self._untold |= bool(points)

    def unreadable(self, lost: Unreadable, names: Mapping[int, str]) -> None:
        """Devices did not give these points; `names`: those of the topics."""
        for topic, (points, reason) in lost.items():
            name = names[topic]
            self.count({name: points})
            self.errors += 1
            if self._is_new(f"unreadable {name}"):
                _log.error("%d points of %r are lost, their device does not give them: %s", points, name, reason)

    def damaged(self, losses: Iterable[Loss], points: Mapping[str, int]) -> None:
        """The spool does not have any more what it had: there, and so many points."""
        for loss in losses:
            self.errors += 1
            _log.error("%s; points of %r are among them", loss, self._scope)
        self.count(points)

    def reject(self, batch: Batch, reasons: Mapping[int, str]) -> None:
        """The server refuses what belongs to these handles of the batch."""
        refused, place = only(batch, reasons), f"kept in {self._refused.path}"
        try:
            self._refused.keep(refused)
        except (BufferFullError, SpoolError) as error:
            place = "lost"
            self.drop(refused, error)
        self._untold = True
        names = {declared.handle: declared.name for declared in refused.declarations} | {CONFIGS: "config"}
        named = {names.get(handle, f"handle {handle}"): reason for handle, reason in reasons.items()}
        for reason in dict.fromkeys(named.values()):
            new = [name for name, why in named.items() if why == reason and name not in self.rejected]
            if new:
                _log.error("the server refuses %s: %s; what it refused is %s", _listed(new), reason, place)
        self.rejected.update(named)

    def tell(self, strict: bool) -> StreamvisError | None:
        """What to raise for what was not told yet; what is merely lost, only when strict."""
        untold, self._untold = self._untold, False
        if untold and self.rejected:
            refused = _listed([f"{name:.100}: {reason}" for name, reason in self.rejected.items()], "; ")
            return RejectedError(f"the server refused points of {self._scope!r}: {refused}")
        if untold and strict:
            return BufferFullError(f"points of {self._scope!r} are lost: {dict(self.dropped)}")
        return None

    def hold(self, now: float) -> None:
        """Keeps what was rejected for this logger, from time to time; `now` is monotonic seconds."""
        self._refused.hold(now)

    def close(self) -> None:
        """Leaves what was rejected to whoever pushes it."""
        try:
            self._refused.close()
        except SpoolError as error:
            self.errors += 1
            _log.error("%s; refused points of %r may be missing there", error, self._scope)

    def _is_new(self, key: str) -> bool:
        new = key not in self._said
        self._said.add(key)
        return new


def _listed(texts: Sequence[str], between: str = ", ") -> str:
    """The first few, and how many more there are."""
    shown = between.join(f"{text:.400}" for text in texts[:5])
    return f"{shown} and {len(texts) - 5} more" if len(texts) > 5 else shown
