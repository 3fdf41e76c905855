"""What a page says beside its points."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from streamvis_viewer.view import View


def page_note(server: Mapping[str, str], views: Sequence[View]) -> dict[str, Any]:
    """The state of the data server, and of each plot."""
    return {"server": server, "plots": [_plot_note(view) for view in views]}


def _plot_note(view: View) -> dict[str, Any]:
    return {
        "loading": not view.ready,
        "topics": len(view.topics),
        "left_out": view.reasons,
        "nan": view.gaps["nan"],
        "inf": view.gaps["inf"],
        "thinned": view.thinned,
    }
