"""Images, sounds and tables, as the loggers of other trackers take them: each is columns of points."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from lightning_utilities.core.rank_zero import rank_zero_only
from torch import Tensor

from streamvis.errors import UsageError
from streamvis.integration import MetricLogger
from streamvis.media import audio_columns, image_columns

Columns: TypeAlias = dict[str, Any]

_CHANNELS = (1, 3, 4)

_TEXT_ROWS = 100
"""Of a table with words in it, what the config keeps."""


class MediaMixin(ABC):
    """The methods of a logger for what is no metric, named as in Lightning's WandbLogger."""

    metrics: MetricLogger

    @abstractmethod
    def named(self, metric: str) -> str:
        """The metric's name with the prefix before it."""

    @property
    @abstractmethod
    def last_step(self) -> int:
        """That of the metrics logged last, 0 before."""

    @rank_zero_only
    def log_image(self, key: str, images: Sequence[Any], step: int | None = None, **options: Any) -> None:
        """Logs images, an index each: a point for each pixel.

        Tensors have the shape [H, W] or [C, H, W], arrays and PIL images [H, W] or [H, W, C]. The columns are step, x
        and y in pixels from the lower left, and value, or red, green and blue (and alpha). Without a step it is that of
        the metrics logged last. Captions and other options are not stored.
        """
        with self.metrics.contained(key):
            self._log_lines(key, image_lines(images), step, options)

    @rank_zero_only
    def log_audio(
        self,
        key: str,
        audios: Sequence[Any],
        step: int | None = None,
        sample_rate: int | Sequence[int] = 44100,
        **options: Any,
    ) -> None:
        """Logs sounds of shape [T] or [T, C], an index for each channel: the columns step, second and value."""
        with self.metrics.contained(key):
            self._log_lines(key, audio_lines(audios, sample_rate), step, options)

    @rank_zero_only
    def log_video(self, key: str, videos: Sequence[Any], step: int | None = None, **_: Any) -> None:
        """Says once that videos are not stored."""
        self.metrics.say(key, f"{key} of {self.metrics.scope!r} is a video, which is not stored")

    @rank_zero_only
    def log_table(
        self,
        key: str,
        columns: Sequence[str] | None = None,
        data: Sequence[Sequence[Any]] | None = None,
        dataframe: Any = None,
        step: int | None = None,
    ) -> None:
        """Logs a table of numbers as a point for each row; one with words goes into the config under `texts`.

        There the last of each key is kept, and its first rows.
        """
        with self.metrics.contained(key):
            cells = table(columns, data, dataframe)
            if is_numeric(cells):
                self._log_lines(key, [cells], step, {})
            else:
                self._log_words(key, cells, self.last_step if step is None else step)

    log_text = log_table

    def _log_lines(self, key: str, lines: Iterable[Columns], step: int | None, left_out: Mapping[str, Any]) -> None:
        if left_out:
            self.metrics.say(f"{key} options", f"{key} of {self.metrics.scope!r}: {', '.join(left_out)} not stored")
        index = 0
        for columns in lines:
            number = self.last_step if step is None else step
            self.metrics.write(self.named(key), start_index=index, step=number, **columns)
            index += max(len(values) if getattr(values, "ndim", 1) > 1 else 1 for values in columns.values())

    def _log_words(self, key: str, cells: Mapping[str, list[Any]], step: int) -> None:
        rows = [list(row) for row in zip(*cells.values(), strict=True)]
        if len(rows) > _TEXT_ROWS:
            self.metrics.say(key, f"{key} of {self.metrics.scope!r} has words: its first {_TEXT_ROWS} rows are kept")
        text = {"step": step, "columns": list(cells), "rows": rows[:_TEXT_ROWS]}
        self.metrics.log_config({"texts": {self.named(key): text}})


def image_lines(images: Sequence[Any]) -> Iterator[Columns]:
    """Of each image its pixels: of tensors [H, W] or [C, H, W], of arrays and PIL images [H, W] or [H, W, C]."""
    for image in images:
        if isinstance(image, Tensor):
            pixels: Any = image.detach()
            pixels = pixels.permute(1, 2, 0) if pixels.ndim == 3 and len(pixels) in _CHANNELS else pixels
        else:
            pixels = np.asarray(image)
        yield image_columns((pixels[..., None] if pixels.ndim == 2 else pixels)[None])


def audio_lines(audios: Sequence[Any], sample_rate: int | Sequence[int]) -> Iterator[Columns]:
    """Of each sound, of shape [T] or [T, C], its samples; a rate for all, in Hz, or one for each."""
    rates = [sample_rate] * len(audios) if isinstance(sample_rate, int) else sample_rate
    if len(rates) != len(audios):
        raise UsageError(f"{len(audios)} sounds have {len(rates)} sample rates; expected one for all or one for each")
    for audio, rate in zip(audios, rates, strict=True):
        sound = audio.detach() if isinstance(audio, Tensor) else np.asarray(audio)
        yield audio_columns((sound[:, None] if sound.ndim == 1 else sound)[None], rate)


def table(columns: Sequence[str] | None, data: Sequence[Sequence[Any]] | None, dataframe: Any) -> dict[str, list[Any]]:
    """The cells of each column, from rows and their names or from a DataFrame.

    Raises UsageError without either, or when a row has not a cell for each column.
    """
    if dataframe is not None:
        return {str(name): dataframe[name].tolist() for name in dataframe.columns}
    if columns is None or data is None:
        raise UsageError("a table without columns and data; expected both, or a dataframe")
    for number, row in enumerate(data):
        if len(row) != len(columns):
            raise UsageError(
                f"row {number} of a table has {len(row)} cells; expected {len(columns)}, one for each column"
            )
    return {str(name): [row[place] for row in data] for place, name in enumerate(columns)}


def is_numeric(cells: Mapping[str, list[Any]]) -> bool:
    """Whether every cell of a table is a number."""
    return all(isinstance(cell, (bool, int, float, np.number)) for column in cells.values() for cell in column)
