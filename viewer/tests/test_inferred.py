"""A viewer without a schema, in a real browser: what programs log by themselves is drawn as people expect it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Browser, expect

from streamvis import DataLogger
from streamvis.server.run import serving as data_serving
from streamvis_viewer import serving

pytestmark = pytest.mark.browser

SHOWN = """async () => {
  const {layers} = await import("/assets/layers.js");
  const sliders = key => document.querySelectorAll(`.cell[data-key=${key}] .slider`).length;
  return [...layers.values()].map(({plot_view: {model}, count}) => [
    model.title.text, model.below[0].axis_label, model.left[0].axis_label, count, sliders(model.name),
  ]);
}"""


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """Two runs as Lightning logs them, one before its first epoch; x and y; clouds and a histogram over time."""
    with data_serving("memory:") as server:
        for number, epoch in enumerate((np.nan, 1.0)):
            with DataLogger(f"version_{number}", grpc_uri=server.uri) as logger:
                step = np.arange(0, 50, 5)
                when: dict[str, Any] = {"epoch": step * epoch, "time": 1.79e9 + step}
                logger.write("val/acc", step=step, value=step / 100 + number, **when)
                logger.write("curve", x=np.arange(20), y=np.arange(20) ** 0.5)
                for t in (0, 10):
                    logger.write("cloud", x=np.arange(6.0).reshape(2, 3) + t, y=np.ones((2, 3)), t=t)
                    count = np.arange(8.0)
                    logger.write("hist", value=np.arange(8) / 8, count=count, step=t, epoch=0.0, time=1.79e9 + t)
        with serving("127.0.0.1:0", server.uri) as address:
            yield address


@pytest.mark.parametrize("size", [(1600, 1000), (900, 1200)])
def test_what_was_logged_is_drawn_without_a_schema(browser: Browser, url: str, size: tuple[int, int]) -> None:
    """One line for each run although epochs and times differ; sliders for clouds and histograms; all is shown."""
    page = browser.new_page(viewport={"width": size[0], "height": size[1]})
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(f"{error}\n{error.stack}"))
    page.goto(f"{url}/open")
    expect(page.locator("#counts")).to_have_text("10 series · 116 points", timeout=20_000)
    assert sorted(page.evaluate(SHOWN)) == [
        ["cloud", "x", "y", 4, 1],  # an index each
        ["curve", "x", "y", 2, 0],
        ["hist", "value", "count", 2, 1],
        ["val/acc", "step", "value", 2, 0],
    ]
    assert page.locator("#runs .label").all_text_contents() == ["version_0", "version_1"]
    expect(page.locator("#left-out")).to_be_hidden()
    page.get_by_role("button", name="Play").first.click()
    expect(page.locator(".slider output").first).to_have_text("0")
    assert faults == []
    page.close()
