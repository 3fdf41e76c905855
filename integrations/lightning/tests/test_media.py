"""Images, sounds and tables through the Lightning logger, by the methods that other trackers' loggers have."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

Tree = Any
Stored = Callable[..., dict[str, dict[str, Any]]]
Said = Callable[[], list[str]]


@pytest.mark.parametrize("method", ["log_image", "log_audio", "log_video", "log_table", "log_text"])
def test_it_has_the_methods_of_the_framework_s_own_logger(tree: Tree, method: str) -> None:
    """With the same arguments in the same order: a program changes the line that makes it."""
    theirs = inspect.signature(getattr(tree.package.loggers.WandbLogger, method)).parameters
    ours = inspect.signature(getattr(tree.logger, method)).parameters
    named = [name for name, parameter in theirs.items() if parameter.kind is not inspect.Parameter.VAR_KEYWORD]
    assert list(ours)[: len(named)] == named


def test_images_are_pixels_upright(make: Any, stored: Stored, said: Said) -> None:
    """Tensors with their channels first, arrays with them last, grey ones without: an index for each."""
    import torch

    logger = make()
    logger.log_metrics({"loss": 1.0}, step=7)
    image = torch.arange(12.0).reshape(2, 2, 3)  # height, width, channel
    logger.log_image("colour", [image.permute(2, 0, 1), image.numpy()], caption=["a", "b"])
    logger.log_image("grey", [torch.tensor([[1.0, 2.0], [3.0, 4.0]])], step=9)
    logger.finalize("success")
    found = stored()
    assert found["colour"] == found["colour#1"]
    assert found["colour"] == {
        "step": [7] * 4,
        "x": [0, 1, 0, 1],
        "y": [1, 1, 0, 0],
        "red": [0, 3, 6, 9],
        "green": [1, 4, 7, 10],
        "blue": [2, 5, 8, 11],
    }
    assert (found["grey"]["step"], found["grey"]["value"]) == ([9] * 4, [1, 2, 3, 4])
    assert said() == ["colour of 'run': caption not stored (said once)"]


def test_sounds_are_samples_by_second(make: Any, stored: Stored) -> None:
    """An index for each channel of each; a rate for all, or one for each."""
    import torch

    logger = make()
    logger.log_audio("sound", [torch.arange(8.0).reshape(4, 2), np.arange(3.0)], sample_rate=[4, 1])
    logger.finalize("success")
    found = stored()
    assert (found["sound"]["second"], found["sound"]["value"]) == ([0, 0.25, 0.5, 0.75], [0, 2, 4, 6])
    assert found["sound#1"]["value"] == [1, 3, 5, 7]
    assert (found["sound#2"]["second"], found["sound#2"]["step"]) == ([0, 1, 2], [0, 0, 0])


def test_tables_of_numbers_are_points_and_those_with_words_config(
    make: Any, stored: Stored, config: Callable[[], Any], said: Said
) -> None:
    """From rows or a DataFrame; of long ones with words the first rows are kept."""

    class Frame:  # what is asked of a pandas.DataFrame
        columns = ("a",)

        def __getitem__(self, _: str) -> Any:
            return np.arange(3)

    logger = make(prefix="mine")
    logger.log_table("roc", ["false", "true"], [[0.0, 0.5], [0.5, 1.0]], step=3)
    logger.log_table("frame", dataframe=Frame(), step=4)
    logger.log_table("none", ["a"], [])
    logger.log_text("samples", columns=["input", "output"], data=[["1 + 1", 2]], step=5)
    logger.log_text("long", ["word"], [["word"]] * 1000)
    logger.finalize("success")
    found = stored()
    assert found == {
        "mine-roc": {"step": [3, 3], "false": [0, 0.5], "true": [0.5, 1]},
        "mine-frame": {"step": [4, 4, 4], "a": [0, 1, 2]},
    }
    texts = config()["texts"]
    assert texts["mine-samples"] == {"step": 5, "columns": ["input", "output"], "rows": [["1 + 1", 2]]}
    assert len(texts["mine-long"]["rows"]) == 100
    assert [message.split(" of ")[0] for message in said()] == ["long"]


def test_what_cannot_be_stored_is_said_once(make: Any, stored: Stored, said: Said) -> None:
    """Videos, paths, odd shapes and ragged tables warn, and nothing reaches the training loop."""
    logger = make()
    for step in range(2):
        logger.log_video("film", [np.zeros((2, 3, 4, 4))], step=step)
        logger.log_image("path", ["picture.png"], step=step)
        logger.log_image("wide", [np.zeros((2, 2, 7))], step=step)
        logger.log_audio("deep", [np.zeros((2, 2, 2))], step=step)
        logger.log_audio("rates", [np.zeros(2)], step=step, sample_rate=[1, 2])
        logger.log_table("ragged", ["a", "b"], [[1, 2], [3]], step=step)
        logger.log_table("empty", step=step)
        logger.log_metrics({"loss": 1.0}, step=step)
    logger.finalize("success")
    assert stored().keys() == {"loss"}
    assert len(said()) == 7
