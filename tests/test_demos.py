"""What the demos log."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import numpy as np
import pytest

from streamvis.demos import digits
from streamvis.demos.digits import Data, Settings
from streamvis.demos.funcs import Cloud, Sinusoidal


class Recorder:
    """Keeps what a run writes, by name."""

    def __init__(self) -> None:
        self.config: dict[str, Any] = {}
        self.written: dict[str, list[dict[str, Any]]] = {}

    def write(self, name: str, /, *, start_index: int = 0, **columns: Any) -> None:
        self.written.setdefault(name, []).append({"index": start_index, **columns})

    def write_config(self, values: dict[str, Any], /) -> None:
        self.config |= values


@pytest.fixture(name="data", scope="module")
def _data() -> Data:
    return Data.load()


@pytest.fixture(name="run", scope="module")
def _run(data: Data) -> Recorder:
    recorder = Recorder()
    list(digits.train(recorder, Settings(epochs=5), data))
    return recorder


def test_cloud_moves() -> None:
    """Each step of the cloud has all points, elsewhere than the step before."""
    cloud = Cloud(num_points=100, num_steps=50)
    first, second = cloud.step(0), cloud.step(10)
    assert first.shape == second.shape == (100, 2)
    assert np.abs(first - second).max() > 0.1
    assert np.allclose(cloud.step(50), first)


def test_sinusoidal_brings_the_next_points_of_each_group() -> None:
    """Steps ten apart continue each other without a gap."""
    waves = Sinusoidal()
    xs, ys = waves.step(20)
    assert xs.tolist() == list(range(20, 30))
    assert ys.shape == (4, 10)
    assert waves.step(30)[0][0] == xs[-1] + 1


def test_the_network_learns(run: Recorder) -> None:
    """After five epochs it recognises nine of ten images that it has not seen."""
    accuracies = [write["y"].mean() for write in run.written["val/accuracy"]]
    assert accuracies[0] < 0.3
    assert accuracies[-1] > 0.9
    assert run.written["val/loss"][-1]["y"] < 0.3 < run.written["val/loss"][0]["y"]


def test_what_the_training_logs(run: Recorder, data: Data) -> None:
    """Losses per step, ten accuracies per epoch, every image once per epoch under its digit, and the settings."""
    steps = [write["x"] for write in run.written["train/loss"]]
    assert steps == list(range(len(steps))) == [write["x"] for write in run.written["learning-rate"]]
    assert {write["y"].shape for write in run.written["val/accuracy"]} == {(10, 1)}
    for epoch in range(6):
        clouds = [write for write in run.written["hidden"] if write["t"] == epoch]
        assert [write["index"] for write in clouds] == list(range(10))
        assert sum(len(write["x"]) for write in clouds) == len(data.images) == 1797
    assert run.config["learning_rate"] == Settings().learning_rate


def test_training_and_validation_images_differ(data: Data) -> None:
    """No image is both learned from and held out."""
    assert not set(data.training) & set(data.validation)
    assert len(data.training) + len(data.validation) == 1797


def test_gradients_are_those_of_the_loss(data: Data) -> None:
    """A step along the gradient lowers the loss by what calculus says."""
    images, numbers = data.images[:50].astype(float), data.digits[:50]
    network = digits.Network([w.astype(float) for w in digits.Network.random(64, 8, np.random.default_rng(0)).weights])
    before = [weight.copy() for weight in network.weights]
    loss = network.learn(images, numbers, learning_rate=1e-4, momentum=0.0)
    squared = sum(float(((old - new) ** 2).sum()) for old, new in zip(before, network.weights, strict=True)) / 1e-8
    after = digits.cross_entropy(network.log_probabilities(network.hidden(images)), numbers)
    assert (loss - after) / 1e-4 == pytest.approx(squared, rel=1e-2)


def test_learning_rate_warms_up_and_ends_at_zero() -> None:
    """It rises linearly to its peak, then falls like a cosine."""
    settings = Settings(warmup_steps=10)
    rates = [digits.scheduled_rate(settings, step, 1000) for step in range(1001)]
    assert np.argmax(rates) in (9, 10)
    assert rates[-1] == pytest.approx(0, abs=1e-12)


def test_projection_follows_the_previous_one() -> None:
    """The same activations mirrored and turned land where they were before."""
    rng = np.random.default_rng(0)
    activations = rng.normal(size=(200, 5)) * [5, 3, 1, 1, 1]
    before = digits.project(activations, None)
    turn = np.linalg.qr(rng.normal(size=(5, 5)))[0]
    assert np.allclose(digits.project(activations @ turn, before), before, atol=1e-8)


def test_the_page_shows_what_the_run_logs(run: Recorder) -> None:
    """Each plot of the page is in the schema, and each plot's names select something that was logged."""
    import yaml

    schema = yaml.safe_load(digits.SCHEMA.read_text())
    plots = re.split("[,;]", re.findall(r"[?&](?:rows|cols)=([^&]*)", digits.PAGE)[0])
    assert plots
    for plot in plots:
        columns = set(schema[plot].get("columns", schema["DEFAULTS"]["columns"]))
        found = [name for name in run.written if re.search(schema[plot]["names"], name)]
        assert found
        assert all(columns <= run.written[name][0].keys() for name in found)


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_the_seed_examples_log_all_they_write(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Both example functions run unchanged, and every point arrives."""
    from streamvis import script
    from streamvis.demos.async_ import demo_log_data_async
    from streamvis.demos.sync import demo_log_data
    from streamvis.server.run import serving

    with serving() as server:
        if kind == "sync":
            demo_log_data(server.uri, "run24", 30, delay=0)
        else:
            asyncio.run(demo_log_data_async(server.uri, "run24", 30, delay=0))
        data = script.fetch(server.uri, "run24")
        assert "start-time" in script.config(server.uri, "run24")
    assert data["run24", "sinusoidal", 3]["x"].tolist() == list(range(30))
    cloud = data["run24", "cloud", 0]
    assert np.unique(cloud["t"], return_counts=True)[1].tolist() == [10_000] * 3
    assert "Logged step=20" in capsys.readouterr().out
