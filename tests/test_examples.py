"""The examples run as their first lines say, and their plots show what they log."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from streamvis import Client
from streamvis.server.run import ServerThread, serving

EXAMPLES = Path(__file__).parents[1] / "examples"
KINDS = ("plain", "lightning", "flax")
COLORS = [31, 119, 180], [255, 127, 14], [44, 160, 44]  # the first of Category10


@pytest.fixture(name="server", scope="module")
def _server() -> Iterator[ServerThread]:
    """A server into which every example has logged two epochs."""
    with serving("memory:") as server:
        for kind in KINDS:
            script = EXAMPLES / f"{kind}_digits.py"
            subprocess.run([sys.executable, script, server.uri, "2"], check=True, capture_output=True, timeout=100)
        yield server


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_an_example_logs_a_training_run(server: ServerThread, kind: str) -> None:
    """Thirty steps per epoch, under a scope of its own, with a loss that falls and the hyperparameters."""
    with Client(server.uri) as client:
        points = client.fetch(kind)
        assert "learning_rate" in client.config(kind)
    loss, accuracy = points[kind, "train/loss", 0], points[kind, "val/accuracy", 0]
    assert (np.diff(loss["step"]) == 1).all()
    assert len(loss["step"]) == 60
    assert loss["value"][-10:].mean() < 0.8 * loss["value"][:10].mean()
    assert accuracy["value"][-1] > 0.8
    assert len(points[kind, "val/loss", 0]["value"]) == 2
    assert len(points[kind, "gradient/norm", 0]["value"]) == 60


@pytest.mark.slow
def test_the_plots_show_what_the_examples_log(server: ServerThread) -> None:
    """Each plot selects names that were logged, all of which have its columns and no column that is unaccounted for."""
    from streamvis_viewer import load

    with Client(server.uri) as client:
        topics = [listing.topic for listing in client.listings()]
    plots = load(EXAMPLES / "plots.yaml").plots
    assert list(plots) == ["loss", "validation", "accuracy", "gradient", "clock"]
    for plot in plots.values():
        columns = [set(topic.columns) for topic in topics if re.search(plot.names or "", topic.name)]
        assert columns
        assert all(plot.needed <= found <= plot.needed | set(plot.ignore) for found in columns)


@pytest.mark.slow
@pytest.mark.browser
def test_one_page_shows_the_three_runs_side_by_side(server: ServerThread, wait_until: Callable[..., None]) -> None:
    """The first address in plots.yaml: each run is on the screen in its colour, in every plot."""
    from streamvis_viewer import serving as viewing
    from viewer.tests.layer_page import INK, chromium

    address = re.search(r"side by side: http://localhost:8888(\S+)", (EXAMPLES / "plots.yaml").read_text())
    assert address
    with viewing("127.0.0.1:0", server.uri, EXAMPLES / "plots.yaml") as url, chromium() as browser:
        page = browser.new_page()
        page.goto(url + address[1])
        page.wait_for_function("document.querySelector('#counts').textContent.includes('12 series · 372 points')")
        for plot in range(4):
            for color in COLORS:
                wait_until(lambda plot=plot, color=color: page.evaluate(INK, [f"p{plot}", color]) > 20, 60)
