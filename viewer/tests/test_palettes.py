"""The colours that runs have when nobody chose any."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
import pytest
from bokeh.palettes import all_palettes

from streamvis_viewer.palettes import DEFAULT_PALETTE

Vector = np.ndarray[Any, np.dtype[np.float64]]

# Machado, Oliveira, Fernandes (2009): A physiologically-based model for simulation of color vision deficiency;
# severity 1, linear RGB.
SIGHTS = {
    "normal": [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
    "protanopia": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deuteranopia": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "tritanopia": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
}
XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
WHITE = np.array([0.95047, 1.0, 1.08883])
TOLD_APART = 12.0
"""CIE 1976 colour difference; of Category10's first seven colours the least is 5, of Set1's 4."""


def linear(colour: str) -> Vector:
    values = np.array([int(colour[start : start + 2], 16) for start in (1, 3, 5)]) / 255
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def lab(rgb: Vector) -> Vector:
    part = XYZ @ rgb / WHITE
    x, y, z = np.where(part > 0.008856, np.cbrt(part), 7.787 * part + 16 / 116)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def least_difference(colours: list[str], sight: str) -> float:
    seen = [lab(np.clip(np.array(SIGHTS[sight]) @ linear(colour), 0, 1)) for colour in colours]
    return min(float(np.linalg.norm(one - other)) for one, other in combinations(seen, 2))


@pytest.mark.parametrize("sight", SIGHTS)
def test_everybody_can_tell_the_default_colours_apart(sight: str) -> None:
    """Any two of them, with any kind of colour vision."""
    name = DEFAULT_PALETTE.rstrip("0123456789")
    colours = list(all_palettes[name][int(DEFAULT_PALETTE.removeprefix(name))])
    assert least_difference(colours, sight) > TOLD_APART


def test_the_measure_knows_colours_that_cannot_be_told_apart() -> None:
    """As Category10's red and green."""
    assert least_difference(list(all_palettes["Category10"][7]), "protanopia") < TOLD_APART
