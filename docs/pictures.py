"""Takes the pictures of schema.md and urls.md: each shows the example that stands above it, as a person would see it.

    make pictures                     all of them
    make pictures ARGS=docs/urls.md   those of a page

A block of YAML is the viewer's schema, and what follows it in the page is seen with it. The picture after a block of
addresses shows the first of them, the picture after a block of YAML all plots of the block. Runs of a small experiment
that was never made are logged to a server of their own.
"""

from __future__ import annotations

import argparse
import io
import re
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import chdir, contextmanager
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import yaml
from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

from streamvis import DataLogger
from streamvis.server.run import serving as data_serving
from streamvis_viewer import serving

DOCS = Path(__file__).parent
PAGES = (DOCS / "schema.md", DOCS / "urls.md")
SIZE = (1000, 540)
"""Of the browser's window, in pixels; a page of GitHub's is a little narrower."""
SIZES = {"landing": (1400, 760)}
"""Of pages that need more."""
COLORS = 200
STEPS, EPOCH_STEPS = 400, 40
RUNS = {"run11": 0.1, "run12": 0.03, "run21": 0.01, "run22": 0.003, "run23": 0.001, "debug": 0.3}
"""Scopes and their learning rates."""
BEGAN = 1_790_000_000.0
"""The time of their first step, in Unix seconds: the pictures shall not change from day to day."""


@dataclass(frozen=True, slots=True)
class Example:
    """What a picture shows: an address, with the schema that stands above it."""

    picture: Path
    address: str
    schema: str


_PART = re.compile(
    r"^```(?P<language>yaml|url)\n(?P<block>.*?)^```|^!\[[^\]]*\]\((?P<picture>pictures/[^)]+)\)",
    re.MULTILINE | re.DOTALL,
)


def examples(page: Path) -> Iterator[Example]:
    """The examples of a page with their pictures, in order. Raises ValueError for a picture without one."""
    schema = address = ""
    for part in _PART.finditer(page.read_text(encoding="utf-8")):
        if part["language"] == "yaml":
            schema = part["block"]
            plots = [name for name in yaml.safe_load(schema) if name != "DEFAULTS"]
            address = f"/?rows={','.join(plots)}"
        elif part["language"] == "url":
            address = part["block"].splitlines()[0]
        elif not address:
            raise ValueError(f"{page.name}: {part['picture']} follows no example")
        else:
            yield Example(page.parent / part["picture"], address, schema)
            address = ""


# ---- what is shown


def write_runs(uri: str) -> None:
    """Six runs of one experiment: curves, a schedule, attention, and a hidden layer whose classes part."""
    for seed, (scope, rate) in enumerate(RUNS.items()):
        with DataLogger(scope, uri) as logger:
            logger.write_config({"lr": rate, "batch": 32, "model": {"depth": 2 + seed % 2}})
            _write_curves(logger, np.random.default_rng(seed), rate, BEGAN + 900 * seed)
            _write_hidden(logger, np.random.default_rng(100 + seed), rate)
            _write_attention(logger, np.random.default_rng(200 + seed))


def _write_curves(logger: DataLogger, rng: np.random.Generator, rate: float, began: float) -> None:
    speed = 60 / (1 + 12 * abs(np.log10(rate / 0.02)) ** 2) + 4
    for stage, every, gap, noise in (("train", 1, 0.0, 0.06), ("val", 10, 0.12, 0.02)):
        step = np.arange(0, STEPS, every)
        fall = np.exp(-step * speed / 2500)
        spread = np.exp(noise * rng.standard_normal(len(step)))
        loss = (2.3 * fall + 0.04 + gap * (1 - fall)) * spread
        when: dict[str, Any] = {"step": step, "epoch": step / EPOCH_STEPS, "time": began + 1.7 * step}
        logger.write(f"{stage}/loss", value=loss, **when)
        logger.write(f"{stage}/accuracy", value=1 - 0.9 * fall - 0.3 * gap - 0.3 * (spread - 1), **when)
    step = np.arange(0, STEPS, EPOCH_STEPS)
    norm = np.exp(0.15 * rng.standard_normal(STEPS) + 4 * (rng.random(STEPS) > 0.995)) * np.exp(-np.arange(STEPS) / 300)
    logger.write("gradient_norm", step=np.arange(STEPS), value=norm)
    logger.write("rate", step=step, value=rate * 0.5 ** (step // (2 * EPOCH_STEPS)))


def _write_hidden(logger: DataLogger, rng: np.random.Generator, rate: float) -> None:
    angle = 2 * np.pi * np.arange(3)[:, None] / 3
    spread = rng.standard_normal((2, 3, 60))
    for t in range(0, STEPS + 1, EPOCH_STEPS):
        for layer in (1, 2):
            apart = (1 + 1.5 * layer) * (1 - np.exp(-t * rate**0.25 / 80))
            turned = angle + t / 300 + layer
            x, y = apart * np.cos(turned) + 0.4 * spread[0], apart * np.sin(turned) + 0.4 * spread[1]
            logger.write("layers", x=x, y=y, t=t, layer=layer)
        logger.write("hidden", x=x, y=y, t=t)


def _write_attention(logger: DataLogger, rng: np.random.Generator) -> None:
    key, query = np.meshgrid(np.arange(16), np.arange(12))
    for step in range(0, STEPS + 1, 100):
        sharp = 0.5 + step / 80
        weight = np.exp(-sharp * np.abs(key / 16 - query / 12) * 3) * rng.uniform(0.7, 1, key.shape)
        logger.write("attention", key=key.ravel(), query=query.ravel(), weight=weight.ravel(), step=step)


# ---- how it is taken


@contextmanager
def chromium() -> Iterator[Browser]:
    """A headless browser."""
    with sync_playwright() as playwright:
        system = Path("/usr/bin/chromium")
        made = playwright.chromium.launch(executable_path=system if system.exists() else None, args=["--no-sandbox"])
        yield made
        made.close()


def opened(pages: Sequence[Path]) -> Iterator[tuple[Example, Page]]:
    """Each example of some pages in a browser, with its points. Raises RuntimeError for what goes wrong there."""
    found = [example for page in pages for example in examples(page)]
    with data_serving("memory:") as data, chromium() as browser, tempfile.TemporaryDirectory() as folder, chdir(folder):
        write_runs(data.uri)
        page = browser.new_page()
        errors: list[str] = []
        page.on("pageerror", lambda error: errors.append(str(error)))
        for schema, group in groupby(found, key=lambda example: example.schema):
            file = Path("plots.yaml")
            file.write_text(schema)
            with serving("127.0.0.1:0", data.uri, file) as url:
                for example in group:
                    width, height = SIZES.get(example.picture.stem, SIZE)
                    page.set_viewport_size({"width": width, "height": height})
                    page.goto(url + quote(example.address, safe="/?&=;,:()!*|^$[]%+"))
                    page.wait_for_function(_THERE)
                    if errors:
                        raise RuntimeError(f"{example.address}: {errors[0]}")
                    yield example, page
                page.goto("about:blank")  # or it would look for this viewer when it is gone


_THERE = """() => document.querySelector(".document, #table .body .row")
  || /[1-9][\\d,]* points/.test(document.querySelector("#counts")?.textContent)
    && !document.querySelector(".waiting")"""


def quantised(png: bytes) -> bytes:
    """The same with few colours, a third of the size."""
    out = io.BytesIO()
    image = Image.open(io.BytesIO(png)).convert("RGB")
    image.quantize(COLORS, kmeans=1, dither=Image.Dither.NONE).save(out, "PNG", optimize=True)
    return out.getvalue()


def main() -> None:
    """Takes them, and says how large they are."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("page", nargs="*", type=Path, default=PAGES)
    for example, page in opened([path.resolve() for path in parser.parse_args().page]):
        page.wait_for_timeout(700)  # a plot that rests is drawn anew, exactly
        png = quantised(page.screenshot())
        example.picture.parent.mkdir(exist_ok=True)
        example.picture.write_bytes(png)
        print(f"{example.picture.name:28} {len(png) / 1024:5.1f} KiB  {example.address}")


if __name__ == "__main__":
    main()
