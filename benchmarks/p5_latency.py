"""P5: from a write to a subscriber that sees it, in a steady stream of writes and after a pause."""

from __future__ import annotations

import random
import statistics
import threading
import time
from collections.abc import Iterator

from _harness import REPEATS, data_server, logger_options, show

from streamvis import Batch, Client, DataLogger

FLUSH_EVERY = 0.05
STEADY_WRITES, EAGER_WRITES = 150, 12  # of each of REPEATS rounds


def main() -> None:
    """Prints medians over all writes, after checking that each was seen once."""
    with (
        data_server() as server,
        Client(server.uri) as client,
        DataLogger("run", flush_every=FLUSH_EVERY, **logger_options(server)) as logger,
    ):
        steady = [_round(client, logger, f"steady{repeat}", _steady()) for repeat in range(REPEATS)]
        eager = [_round(client, logger, f"eager{repeat}", _eager()) for repeat in range(REPEATS)]
    period = ("flush period", FLUSH_EVERY * 1e3)
    limit = FLUSH_EVERY * 1e3 / 2 + 8
    show("P5 write to seen, steady writes", statistics.median(steady), "ms", peer=period, at_most=limit)
    show("P5 write to seen, first after a pause", statistics.median(eager), "ms", peer=period, at_most=10)


def _steady() -> Iterator[float]:
    """Pauses at random, so that writes fall on every phase of the flush period."""
    rng = random.Random(0)
    return (rng.uniform(0.002, 0.012) for _ in range(STEADY_WRITES))


def _eager() -> Iterator[float]:
    return (3 * FLUSH_EVERY for _ in range(EAGER_WRITES))


def _round(client: Client, logger: DataLogger, name: str, pauses: Iterator[float]) -> float:
    """The median of milliseconds from write to seen."""
    logger.write(name, x=-1)  # declares the topic: what is measured is a point, not the birth of a series
    logger.flush()
    follower = client.follow(logger.scope, [f"^{name}$"])
    seen: list[tuple[int, float]] = []
    next(follower)
    wanted = list(pauses)
    watcher = threading.Thread(target=_watch, args=(follower, (logger.scope, name, 0), len(wanted), seen))
    watcher.start()
    written = []
    for number, pause in enumerate(wanted):
        time.sleep(pause)
        written.append(time.perf_counter())
        logger.write(name, x=number)
    watcher.join(10)
    assert [number for number, _ in seen] == list(range(len(wanted))), f"saw {seen}"
    return statistics.median((when - written[number]) * 1e3 for number, when in seen)


def _watch(follower: Iterator[Batch], key: tuple[str, str, int], count: int, seen: list[tuple[int, float]]) -> None:
    while len(seen) < count:
        batch = next(follower)
        now = time.perf_counter()
        seen += [(number, now) for number in batch.points[key]["x"].tolist()]


if __name__ == "__main__":
    main()
