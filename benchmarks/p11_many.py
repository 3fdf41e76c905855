"""P11: a hundred writers and a hundred subscribers on one server, thirty commits a second."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from queue import SimpleQueue

import grpc
import numpy as np
from _harness import data_server, show

from streamvis import Client, transport
from streamvis.codec import decode, encode
from streamvis.columns import Block
from streamvis.records import Batch, Declaration, Interest, Query
from streamvis.transport import GrpcLink
from streamvis.v1 import streamvis_pb2 as pb
from streamvis.wire import interest_to_pb, load_change

WRITERS, SUBSCRIBERS, PER_SECOND, SECONDS = 100, 100, 30, 20
COLUMNS = ("sent", "x")


def main() -> None:
    """Prints how old a point is when each subscriber gets it, and how many never do."""
    points = PER_SECOND * SECONDS
    with data_server() as server, Client(server.uri) as client:
        command = [sys.executable, __file__, server.uri, str(points)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as readers:
            assert readers.stdout
            acks: SimpleQueue[int] = SimpleQueue()
            links = [GrpcLink(server.uri, lambda ack: acks.put(ack.number), _fail) for _ in range(WRITERS)]
            for writer, link in enumerate(links):
                link.send(_batch(writer, 1, -1))
            for _ in links:
                acks.get()
            assert readers.stdout.readline() == "ready\n"
            start = time.monotonic()
            for number in range(points):
                while (wait := start + number / PER_SECOND - time.monotonic()) > 0:
                    time.sleep(wait)
                links[number % WRITERS].send(_batch(number % WRITERS, 2 + number // WRITERS, number))
            for _ in range(points):
                acks.get()
            ages, lost = json.loads(readers.stdout.readline())
            for link in links:
                link.close()
        stats = client.stats()
    p50, p99, worst = (float(np.quantile(ages, part)) * 1e3 for part in (0.5, 0.99, 1))
    show("P11 sent to seen by 100 subscribers, median", p50, "ms")
    show("P11 sent to seen by 100 subscribers, p99", p99, "ms", at_most=25)
    show("P11 sent to seen by 100 subscribers, longest", worst, "ms")
    show("P11 points lost or doubled", lost, "", at_most=0)
    cpu, memory = (stats.value(f"process_{name}") for name in ("cpu_seconds_total", "resident_memory_bytes"))
    show("P11 processor time of the server", cpu / SECONDS, "cores")
    show("P11 memory of the server", memory / 1e6, "MB")


def _fail(error: Exception) -> None:
    raise error


def _batch(writer: int, number: int, value: int) -> Batch:
    declare = (Declaration(1, f"run{writer}", "loss", COLUMNS),) if number == 1 else ()
    now, x = np.array([[time.monotonic()]]), np.array([[value]])
    return Batch(f"w{writer}", number, declare, (), (encode(Block(1, 0, {"sent": now, "x": x})),))


async def read(uri: str, points: int) -> None:
    """A hundred subscribers, each over a connection of its own."""
    waiting = SUBSCRIBERS

    async def subscribe() -> list[tuple[float, bytes]]:
        nonlocal waiting
        async with grpc.aio.insecure_channel(uri, options=transport.CHANNEL_OPTIONS) as channel:
            call = channel.stream_stream("/streamvis.v1.Streamvis/Subscribe")()
            await call.write(interest_to_pb(Interest(1, Query())).SerializeToString())
            got: list[tuple[float, bytes]] = []
            seen = 0
            async for message in call:
                got.append((time.monotonic(), message))
                change = pb.Change.FromString(message)
                seen += sum(block.n for block in change.blocks)
                if change.interest and change.cursor:
                    waiting -= 1
                    if not waiting:
                        print("ready", flush=True)
                if seen == WRITERS + points:
                    break
            return got

    found = await asyncio.gather(*(subscribe() for _ in range(SUBSCRIBERS)))
    ages, wrong = [], 0
    for got in found:
        values: list[int] = []
        for when, message in got:
            for block in load_change(message).blocks:
                columns = decode(block, COLUMNS).columns
                if columns["x"][0, 0] >= 0:
                    values += columns["x"][0].tolist()
                    ages += (when - columns["sent"][0]).tolist()
        wrong += len(set(range(points)).symmetric_difference(values)) + len(values) - len(set(values))
    print(json.dumps([ages, wrong]), flush=True)


if __name__ == "__main__":
    if len(sys.argv) == 3:
        asyncio.run(read(sys.argv[1], int(sys.argv[2])))
    else:
        main()
