"""How runs are doing, by what their writers last said and when; pure."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence

from streamvis.records import Report, RunInfo, RunStatus, Usage

PATIENCE = 3
"""Heartbeats that a writer may miss before its run counts as crashed."""


def run_infos(usage: Sequence[Usage], reports: Sequence[Report], now: float, since: float) -> list[RunInfo]:
    """Every scope that is not in the trash, oldest first; one without topics stands after those with.

    `since` is when the server began to listen: nobody was heard while it was down. Times are of `steady_time`.
    """
    by_scope: defaultdict[str, list[Report]] = defaultdict(list)
    for report in reports:
        by_scope[report.status.scope].append(report)
    sizes = {it.scope: it.live for it in usage if it.live.topics}
    infos = []
    for scope in dict.fromkeys([*sizes, *by_scope]):
        size, mine = sizes.get(scope), by_scope[scope]
        names, points, bytes_ = (size.topics, size.points, size.bytes) if size else (0, 0, 0)
        if not mine:
            infos.append(RunInfo(scope, "unknown", None, None, names, points, bytes_))
            continue
        speaking = min(mine, key=lambda report: _rank(report, now, since))
        infos.append(
            RunInfo(
                scope,
                _state(speaking, now, since),
                min(report.status.started for report in mine),
                max(report.status.updated for report in mine),
                names,
                points,
                bytes_,
                json.loads(speaking.status.counters),
            )
        )
    return infos


def _state(report: Report, now: float, since: float) -> RunStatus:
    heard = report.heard if since <= report.heard <= now else since  # else the clock stood elsewhere in an earlier life
    silent = now - heard > PATIENCE * report.status.heartbeat
    alive = report.status.state in ("running", "stalled")
    return "crashed" if alive and silent else report.status.state


def _rank(report: Report, now: float, since: float) -> tuple[int, float]:
    """Of several writers of a scope, one that runs speaks for it, else one that stalled, else the latest."""
    order = ("running", "stalled")
    state = _state(report, now, since)
    return order.index(state) if state in order else len(order), -report.status.updated
