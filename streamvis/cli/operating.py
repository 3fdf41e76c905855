"""Commands that watch over a data server."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from streamvis import settings
from streamvis.cli.program import check_uri, command, json_option, print_result

if TYPE_CHECKING:
    from streamvis.doctor import Diagnosis


@command("doctor", "localhost:8081")
@click.argument("uri", metavar="[GRPC_URI]", default=settings.grpc_uri, callback=check_uri)
@json_option
@click.option("--prometheus", is_flag=True, help="Print the numbers as Prometheus reads them.")
def doctor(uri: str, as_json: bool, prometheus: bool) -> int:
    """Says how a data server is doing.

    What it stores and sends, how fast and for whom; and what is wrong, in a line each. Then it exits with 1.
    """
    from streamvis import doctor as practice

    diagnosis = practice.diagnose(uri)
    if prometheus:
        click.echo("\n".join(practice.prometheus(diagnosis.stats.metrics)))
    else:
        print_result(as_json, _fields(diagnosis), _report(diagnosis))
    return 1 if diagnosis.problems else 0


def _fields(diagnosis: Diagnosis) -> dict[str, object]:
    from streamvis import __version__

    return {
        "uri": diagnosis.uri,
        "version": diagnosis.stats.version,
        "client_version": __version__,
        "round_trip_seconds": diagnosis.round_trip,
        "problems": diagnosis.problems,
        "metrics": [
            {"name": metric.name, "labels": dict(metric.labels), "value": metric.value}
            for metric in diagnosis.stats.metrics
        ],
    }


def _report(diagnosis: Diagnosis) -> Iterator[str]:
    from rich.filesize import decimal

    def count(name: str, **labels: str) -> str:
        return f"{stats.value(f'streamvis_{name}', **labels):,.0f}"

    def size(name: str, **labels: str) -> str:
        bytes_ = stats.value(name, **labels)
        return "unknown" if math.isnan(bytes_) else decimal(round(bytes_))

    stats = diagnosis.stats
    batches = ", ".join(
        f"{count('batches_total', result=result)} {result}" for result in ("stored", "refused", "failed")
    )
    p50, p99 = (stats.value("streamvis_commit_seconds", quantile=quantile) * 1e3 for quantile in ("0.5", "0.99"))
    lag = stats.value("streamvis_subscriber_lag_seconds")
    cpu = stats.value("process_cpu_seconds_total")
    yield f"streamvis {stats.version} at {diagnosis.uri}, answers in {diagnosis.round_trip * 1e3:.1f} ms"
    for place, words in (("live", "stored     "), ("trash", "in trash   ")):
        scopes, topics, points = (count(f"stored_{what}", place=place) for what in ("scopes", "topics", "points"))
        size_ = size("streamvis_stored_bytes", place=place)
        yield f"{words}  {scopes} scopes, {topics} names, {points} points, {size_}"
    yield f"writers      {count('writers')} open; batches: {batches}, {count('batches_waiting')} waiting"
    yield f"commits      p50 {p50:.1f} ms, p99 {p99:.1f} ms, {count('batches_dropped')} dropped"
    yield f"since start  {count('points_total')} points, {size('streamvis_block_bytes_total')}"
    yield f"subscribers  {count('subscribers')} open, {count('interests')} interests, {lag:.1f} s behind at most"
    yield f"process      {size('process_resident_memory_bytes')} of memory, {cpu:,.0f} s of processor time"
    yield from (f"problem: {problem}" for problem in diagnosis.problems)
