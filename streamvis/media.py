"""Images, sounds and clouds as columns: whatever of them is numbers, drawn by the viewer's stock kinds."""

from __future__ import annotations

from typing import Any

import numpy as np

from streamvis.errors import DtypeError

_CHANNELS = {1: ("value",), 3: ("red", "green", "blue"), 4: ("red", "green", "blue", "alpha")}
_AXES = ("x", "y", "z")


def image_columns(image: Any) -> dict[str, Any]:
    """Images of shape [N, H, W, C], [H, W, C], [N, H, W] or [H, W]: an index for each, a point for each pixel.

    Columns x and y in pixels from the lower left, and `value`, or `red`, `green`, `blue` (and `alpha`). Raises
    DtypeError for another shape.
    """
    if image.ndim == 2 or (image.ndim == 3 and image.shape[-1] not in _CHANNELS):
        image = image[..., None]
    if image.ndim == 3:
        image = image[None]
    if image.ndim != 4 or image.shape[-1] not in _CHANNELS:
        raise DtypeError(
            f"an image of shape {tuple(image.shape)}; expected [N, H, W, C] or [H, W, C] with 1, 3 or 4 channels"
        )
    count, height, width, channels = image.shape
    y, x = np.divmod(np.arange(height * width), width)
    pixels = image.reshape(count, height * width, channels)
    return {
        "x": x,
        "y": height - 1 - y,
        **{name: pixels[:, :, channel] for channel, name in enumerate(_CHANNELS[channels])},
    }


def audio_columns(audio: Any, sample_rate: int) -> dict[str, Any]:
    """Sounds of shape [N, T, C]: an index for each channel of each, with the columns `second` and `value`."""
    if audio.ndim != 3:
        raise DtypeError(f"a sound of shape {tuple(audio.shape)}; expected [N, T, C]")
    count, length, channels = audio.shape
    value = audio.swapaxes(1, 2).reshape(count * channels, length)
    return {"second": np.arange(length) / sample_rate, "value": value}


def cloud_columns(cloud: Any) -> dict[str, Any]:
    """Clouds of shape [N, P, D] or [P, D], D up to 3: an index for each, with the columns x, y, z."""
    cloud = cloud[None] if cloud.ndim == 2 else cloud
    if cloud.ndim != 3 or not 1 <= cloud.shape[-1] <= len(_AXES):
        raise DtypeError(f"a point cloud of shape {tuple(cloud.shape)}; expected [N, P, D] with D up to 3")
    return {name: cloud[:, :, axis] for axis, name in enumerate(_AXES[: cloud.shape[-1]])}
