"""The writer: clu's MetricWriter and flax's SummaryWriter, by their methods, into one run."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

import numpy as np

from streamvis.media import audio_columns, cloud_columns, image_columns
from streamvis_flax.run import FlaxRun
from streamvis_flax.statistics import histograms

BINS = 64
"""Of a histogram for which the caller gives no number."""


class StreamvisWriter(FlaxRun):
    """Stands in for `clu.metric_writers.MetricWriter` and for `flax.metrics.tensorboard.SummaryWriter`.

        writer = StreamvisWriter("run24")          # was: SummaryWriter(workdir), create_default_writer(workdir)
        writer.scalar("train/loss", loss, step)    # of flax, or, of clu:
        writer.write_scalars(step, {"train/loss": loss})

    Neither clu nor TensorFlow is imported. No call waits for a device. Scalars have the columns step, value, epoch and
    time; a histogram is a point for each bin, with its centre as `value`, and `count`; images, sounds and point clouds
    are columns (see docs/flax.md); texts go into the config under `texts`. Videos are not stored, which is said once.
    A scalar written twice at one step is stored twice, which is said once. See FlaxRun for arguments and promises.
    """

    def __init__(self, scope: str, grpc_uri: str | None = None, **options: Any) -> None:
        super().__init__(scope, grpc_uri, **options)
        self._last: dict[str, Any] = {}
        clu = sys.modules.get("clu.metric_writers.interface")
        if clu is not None:
            clu.MetricWriter.register(type(self))

    # ---- clu.metric_writers.MetricWriter

    def write_scalars(self, step: Any, scalars: Mapping[str, Any]) -> None:
        """Logs numbers."""
        self.log(step, scalars)
        with self.metrics.contained("metrics"):
            for name in scalars:
                if isinstance(step, int) and self._last.get(name) == step:
                    self.metrics.say(
                        name, f"{name} of {self.metrics.scope!r} is written twice at one step: both are stored"
                    )
                self._last[name] = step

    def write_summaries(self, step: int, values: Mapping[str, Any], metadata: Any = None) -> None:  # noqa: ARG002
        """Logs arrays of rank 0, and of rank 1 as an index for each entry; the metadata is TensorBoard's."""
        self.log(step, values)

    def write_images(self, step: int, images: Mapping[str, Any]) -> None:
        """Logs images of shape [N, H, W, C] or [H, W, C] as a point for each pixel."""
        for name, image in images.items():
            with self.metrics.contained(name):
                self.write_points(name, step=step, **image_columns(_array(image)))

    def write_audios(self, step: int, audios: Mapping[str, Any], *, sample_rate: int) -> None:
        """Logs sounds of shape [N, T, C] as a point for each sample."""
        for name, audio in audios.items():
            with self.metrics.contained(name):
                self.write_points(name, step=step, **audio_columns(_array(audio), sample_rate))

    def write_pointcloud(
        self, step: int, point_clouds: Mapping[str, Any], *, point_colors: Any = None, configs: Any = None
    ) -> None:
        """Logs clouds of shape [N, P, D]; colours and configs are TensorBoard's."""
        del point_colors, configs
        for name, cloud in point_clouds.items():
            with self.metrics.contained(name):
                self.write_points(name, step=step, **cloud_columns(_array(cloud)))

    def write_videos(self, step: int, videos: Mapping[str, Any]) -> None:  # noqa: ARG002 - part of clu's interface
        """Says once that videos are not stored."""
        for name in videos:
            self.metrics.say(name, f"{name} of {self.metrics.scope!r} is a video, which is not stored")

    def write_texts(self, step: int, texts: Mapping[str, str]) -> None:
        """Puts the texts into the config: `texts` has the last of each name, and its step."""
        self.write_config({"texts": {name: {"step": step, "text": text} for name, text in texts.items()}})

    def write_histograms(
        self, step: int, arrays: Mapping[str, Any], num_buckets: Mapping[str, int] | None = None
    ) -> None:
        """Logs histograms, computed on the device."""
        for name, array in arrays.items():
            if self.active:
                with self.metrics.contained(name):
                    bins = (num_buckets or {}).get(name) or BINS
                    [(centres, counts)] = histograms({name: _array(array)}, int(bins)).values()
                    self.metrics.log_histogram(name, centres, counts, step)

    def write_hparams(self, hparams: Mapping[str, Any]) -> None:
        """Merges hyperparameters into the config."""
        self.write_config(hparams)

    def close(self) -> None:
        """Flushes and closes."""
        self.stop()

    # ---- flax.metrics.tensorboard.SummaryWriter

    def scalar(self, tag: str, value: Any, step: int) -> None:
        """Logs a number."""
        self.write_scalars(step, {tag: value})

    def image(self, tag: str, image: Any, step: int, max_outputs: int = 3) -> None:
        """Logs the first images of [H, W], [H, W, C], [K, H, W] or [K, H, W, C] as a point for each pixel."""
        image = _array(image)
        several = image.ndim == 4 or (image.ndim == 3 and image.shape[-1] not in (1, 3))
        self.write_images(step, {tag: image[:max_outputs] if several else image})

    def audio(self, tag: str, audiodata: Any, step: int, sample_rate: int = 44100, max_outputs: int = 3) -> None:
        """Logs the first sounds of [N, T, C] as a point for each sample."""
        self.write_audios(step, {tag: _array(audiodata)[:max_outputs]}, sample_rate=sample_rate)

    def histogram(self, tag: str, values: Any, step: int, bins: int | None = None) -> None:
        """Logs a histogram, computed on the device."""
        self.write_histograms(step, {tag: values}, {tag: bins or BINS})

    def text(self, tag: str, textdata: str | bytes, step: int) -> None:
        """Puts the text into the config."""
        self.write_texts(step, {tag: textdata if isinstance(textdata, str) else textdata.decode(errors="replace")})

    def write(self, tag: str, tensor: Any, step: int, metadata: Any = None) -> None:
        """Logs an arbitrary tensor; see write_summaries. For columns of your own there is `write_points`."""
        self.write_summaries(step, {tag: tensor}, metadata)

    def hparams(self, hparams: Mapping[str, Any]) -> None:
        """Merges hyperparameters into the config."""
        self.write_config(hparams)


def _array(value: Any) -> Any:
    return value if hasattr(value, "ndim") else np.asarray(value)
