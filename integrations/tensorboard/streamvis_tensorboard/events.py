"""Blocks and hyperparameters as TensorBoard's events: pure.

A topic is a scalar per point when it has a step: an integer column `step`, else `x`. The column `time`, in Unix
seconds, dates it. With the columns `value` and `count` it is a histogram per step, as the integrations log them: bins
of equal width around `value`.
"""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

import numpy as np
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import HistogramProto, Summary
from tensorboard.plugins.hparams.summary_v2 import hparams_pb

from streamvis import Block

Array: TypeAlias = np.ndarray[Any, Any]

NOT_DRAWN = {"epoch", "process", "time"}
"""Columns that say when and where, not what."""


def step_column(block: Block) -> str | None:
    """The column that counts steps, if there is one."""
    whole = {name for name, values in block.columns.items() if values.dtype.kind == "i"}
    return next((name for name in ("step", "x") if name in whole), None)


def block_events(name: str, block: Block, step: str) -> Iterator[Event]:
    """The events of a block whose column `step` counts steps."""
    names = [column for column in block.columns if column != step and column not in NOT_DRAWN]
    for index, columns in block.series():
        tag = f"{name}/{index}" if index else name
        times = columns.get("time", np.full(block.shape[1], time.time()))
        if {"value", "count"} == {*names}:
            yield from _histograms(tag, columns[step], times, columns["value"], columns["count"])
            continue
        for column in names:
            label = tag if len(names) == 1 else f"{tag}/{column}"
            for at, when, value in zip(columns[step].tolist(), times.tolist(), columns[column].tolist(), strict=True):
                yield Event(step=at, wall_time=when, summary=_summary(label, simple_value=value))


def config_events(values: Mapping[str, Any], trial: str) -> Iterator[Event]:
    """Flat hyperparameters of the run `trial`, for TensorBoard's tab of that name."""
    plain = {name: _hyperparameter(value) for name, value in values.items()}
    yield Event(
        wall_time=time.time(), summary=Summary.FromString(hparams_pb(plain, trial_id=trial).SerializeToString())
    )


def flat(values: Mapping[str, Any], path: str = "") -> dict[str, Any]:
    """Nested hyperparameters under dotted names."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            found |= flat(value, f"{path}{name}.")
        else:
            found[path + name] = value
    return found


def _histograms(tag: str, steps: Array, times: Array, centres: Array, counts: Array) -> Iterator[Event]:
    starts = [0, *(np.flatnonzero(np.diff(steps)) + 1).tolist(), len(steps)]
    for first, last in itertools.pairwise(starts):
        histogram = _histogram(centres[first:last].astype(float), counts[first:last].astype(float))
        yield Event(step=int(steps[first]), wall_time=float(times[first]), summary=_summary(tag, histo=histogram))


def _histogram(centres: Array, counts: Array) -> HistogramProto:
    half = (centres[1] - centres[0]) / 2 if len(centres) > 1 else 0.0
    return HistogramProto(
        min=centres[0] - half,
        max=centres[-1] + half,
        num=counts.sum(),
        sum=(counts * centres).sum(),
        sum_squares=(counts * centres**2).sum(),
        bucket_limit=(centres + half).tolist(),
        bucket=counts.tolist(),
    )


def _summary(tag: str, **value: Any) -> Summary:
    return Summary(value=[Summary.Value(tag=tag, **value)])


def _hyperparameter(value: Any) -> bool | float | str:
    return value if isinstance(value, (bool, int, float, str)) else json.dumps(value)
