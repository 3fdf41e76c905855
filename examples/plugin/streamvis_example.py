"""A plugin of streamvis: a sink, an array type, an adapter, a command and a kind of drawing, each through its hook.

    pip install examples/plugin
    streamvis plugins

This file and its pyproject.toml are all of it. What a hook needs is imported inside: `streamvis --help` stays quick.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import click

from streamvis import Block, hookimpl


@hookimpl
def streamvis_sinks(run: Any) -> list[Any]:
    """Each point as a line of JSON in the file that STREAMVIS_EXAMPLE_FILE names."""
    path = os.environ.get("STREAMVIS_EXAMPLE_FILE")
    return [JsonLines(Path(path), run.scope)] if path else []


class JsonLines:
    """Has a thread of its own: it may take its time, and fail, without harm to the run."""

    def __init__(self, path: Path, scope: str) -> None:
        self._file = path.open("a")
        self._scope = scope

    def write(self, blocks: Sequence[tuple[str, Block]]) -> None:
        """Takes one flush."""
        for name, block in blocks:
            for index, columns in block.series():
                points = zip(*(values.tolist() for values in columns.values()), strict=True)
                self._put({"name": name, "index": index, **dict(zip(columns, point, strict=True))} for point in points)

    def write_config(self, values: Mapping[str, Any]) -> None:
        """Takes hyperparameters."""
        self._put([{"config": values}])

    def close(self) -> None:
        """The run has ended."""
        self._file.close()

    def _put(self, lines: Any) -> None:
        self._file.writelines(json.dumps({"scope": self._scope, **line}) + "\n" for line in lines)
        self._file.flush()


@hookimpl
def streamvis_array_types() -> list[Any]:
    """Python's own exact numbers."""
    return [ExactNumbers()]


class ExactNumbers:
    """Decimals and fractions, stored as float64. The adapter of a framework with devices copies on them instead."""

    name = "exact"
    transfers = 0

    def accepts(self, kind: type) -> bool:
        """Whether values of this type are ours."""
        return issubclass(kind, (Decimal, Fraction))

    def describe(self, value: Decimal | Fraction) -> Any:
        """A number of eight bytes; any of them may wait together."""
        import numpy as np

        from streamvis.arrays import Form

        del value
        return Form(shape=(), dtype=np.dtype("<f8"), place=self.name, nbytes=8, on_host=True)

    def copier(self, forms: Sequence[Any]) -> Callable[[Sequence[Decimal | Fraction]], list[float]]:
        """What takes the values of one write as they are now."""
        del forms
        return lambda values: [float(value) for value in values]

    def transfer(self, runs: Sequence[Sequence[list[float]]]) -> list[Any]:
        """Of each run of such snapshots, an array (snapshots, elements)."""
        import numpy as np

        return [np.array(run) for run in runs]


@hookimpl
def streamvis_adapters() -> dict[str, str]:
    """`streamvis.create("stopwatch", scope="run24")`."""
    return {"stopwatch": "streamvis_example:Stopwatch"}


class Stopwatch:
    """Logs how many seconds the parts of a training step take: `with watch.part("load"): …`, then `watch.step()`."""

    def __init__(self, scope: str, grpc_uri: str | None = None) -> None:
        from streamvis.integration import MetricLogger

        self._metrics = MetricLogger(scope, grpc_uri)
        self._steps = 0
        self._seconds: dict[str, float] = {}

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Adds what is inside to the part's time."""
        began = time.perf_counter()
        yield
        self._seconds[name] = self._seconds.get(name, 0.0) + time.perf_counter() - began

    def step(self) -> None:
        """Ends a training step."""
        self._metrics.log({"seconds": self._seconds}, self._steps)
        self._steps, self._seconds = self._steps + 1, {}

    def stop(self) -> None:
        """Ends the run."""
        self._metrics.stop()


@hookimpl
def streamvis_commands() -> list[click.Command]:
    """`streamvis last`."""
    return [last]


@click.command("last", epilog="Example: streamvis last localhost:8081 run24")
@click.argument("grpc_uri")
@click.argument("scope")
def last(grpc_uri: str, scope: str) -> None:
    """Print the last point of each series of SCOPE."""
    from streamvis import Client

    with Client(grpc_uri) as client:
        for (_, name, index), columns in client.fetch(scope).items():
            point = " ".join(f"{column}={values[-1].item()}" for column, values in columns.items())
            click.echo(f"{name}\t{index}\t{point}")


@hookimpl
def streamvis_glyphs() -> dict[str, Any]:
    """`glyph_kind: stems`."""
    from streamvis_viewer.glyphs import Glyph, LineOptions

    return {"stems": Glyph(LineOptions, "streamvis_example:stems")}


def stems(key: str, line_width: float, alpha: float) -> Any:
    """A line from zero to each point: one of Bokeh's own glyphs, which the page feeds with a row per point."""
    from bokeh.models import Segment

    from streamvis_viewer.stock import fed

    glyph = Segment(x0="x", y0=0, x1="x", y1="y", line_color="color", line_width=line_width, line_alpha=alpha)
    return fed(key, glyph, "points")
