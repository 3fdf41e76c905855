"""What a schema may say, and how it is told that it may not."""

from itertools import pairwise
from pathlib import Path

import pytest

from streamvis import Topic
from streamvis_viewer.faults import SchemaError
from streamvis_viewer.figures import build
from streamvis_viewer.inference import infer
from streamvis_viewer.layout import Cell, Page
from streamvis_viewer.schema import ConfigKey, load, parse
from streamvis_viewer.strips import Shown

CONTRACT = """\
DEFAULTS:
  color: {key_fun: sni, palette: Set1_9}
  figure_kwargs:
    title: {text_font_size: 24px}
loss:
  names: train/.*loss
  glyph_kind: line
  glyph_kwargs: {line_width: 2}
  columns: [x, y]
  color:
    key_fun: [s, {config: lr}]
    palette: Turbo256
  figure_kwargs: {title: {text: Loss}, xaxis: {axis_label: SGD Step}, yaxis: {axis_label: Nats}, legend: {}}
cloud:
  glyph_kind: scatter
  columns: [x, y, t]
  filter_opts: {columns: [t, layer]}
"""


def test_the_documented_schema_is_read() -> None:
    """Every key of the documented example arrives."""
    schema = parse(CONTRACT, "plots.yaml")
    loss, cloud = schema.plots["loss"], schema.plots["cloud"]
    assert list(schema.plots) == ["loss", "cloud"]
    assert loss.color.key_fun == ("s", ConfigKey("lr"))
    assert loss.names == "train/.*loss"
    assert cloud.sliders == ("t", "layer")
    assert cloud.needed == {"x", "y", "t", "layer"}


def test_defaults_are_merged_deeply_and_the_plot_wins() -> None:
    """A plot that sets the title's text keeps the default's font size, and its own palette."""
    schema = parse(CONTRACT, "plots.yaml")
    assert schema.plots["loss"].figure_kwargs["title"] == {"text_font_size": "24px", "text": "Loss"}
    assert (schema.plots["loss"].color.palette, schema.plots["cloud"].color.palette) == ("Turbo256", "Set1_9")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (("glyph_kind: line", "glyph_kind: lien"), "line 7: loss.glyph_kind: found 'lien'"),
        (("glyph_kind: line", "glyph_kind: heatmap"), "line 9: loss.columns: found ['x', 'y']; expected 3 columns"),
        (("line_width: 2", "line_wdth: 2"), "line 8: loss.glyph_kwargs.line_wdth: found the unknown key 'line_wdth'"),
        (("line_width: 2", "line_wdth: 2"), "(did you mean line_width?); allowed for line: alpha, line_width"),
        (("line_width: 2", "line_width: -1"), "line 8: loss.glyph_kwargs.line_width: found -1"),
        (
            ("glyph_kind: line", "glyph_kind: lien"),
            "loss.glyph_kind: found 'lien' (did you mean line?); allowed: heatmap, line, scatter, step",
        ),
        (
            ("glyph_kind: line", "glyph_knd: line"),
            "line 7: loss.glyph_knd: found the unknown key 'glyph_knd' (did you mean glyph_kind",
        ),
        (("Turbo256", "Turbo25"), "line 12: loss.color.palette: found 'Turbo25', which is no Bokeh palette"),
        (("Turbo256", "Turbo25"), "such as Turbo256"),
        (("Set1_9", "Sett"), "line 2: DEFAULTS.color.palette: found 'Sett'"),
        (
            ("24px", "24pxx"),
            "line 4: DEFAULTS.figure_kwargs.title.text_font_size: found '24pxx', which",
        ),
        (
            ("axis_label: SGD", "axs_label: SGD"),
            "loss.figure_kwargs.xaxis.axs_label: found the unknown key 'axs_label' (did you mean axis_label",
        ),
        (
            ("legend: {}", "legend: {a: 1}"),
            "loss.figure_kwargs.legend.a: found the unknown key 'a'; allowed: title, visible",
        ),
        (("[s, {config: lr}]", "sx"), "line 11: loss.color.key_fun: found 'sx'"),
        (("columns: [x, y]\n", "columns: [x]\n"), "line 9: loss.columns: found ['x']"),
        (("  columns: [x, y]\n", ""), "line 5: loss: found no 'columns'; expected it, such as columns: [x, y]"),
        (("{columns: [t, layer]}", "{}"), "line 17: cloud.filter_opts: found {}"),
        (("train/.*loss", "train/(.*loss"), "line 6: loss.names: found 'train/(.*loss'"),
        (("cloud:", "loss:"), "line 14: loss: found it a second time, first on line 5"),
        (("cloud:", "a,b:"), "line 14: a,b: found 'a,b' as a plot's name"),
        (("{text: Loss}", "{text: Loss"), "line 14: found 'cloud:', which is not valid YAML: expected ','"),
        (("  names", "\tnames"), "is not valid YAML: character '\\t' that cannot start any token; indent with spaces"),
        (("line_width: 2", "line_width: thick"), "loss.glyph_kwargs.line_width: found 'thick'; expected a number"),
        (("glyph_kwargs: {line_width: 2}", "glyph_kwargs: 2"), "loss.glyph_kwargs: found 2; expected a mapping"),
        (("[x, y]\n", "x\n"), "line 9: loss.columns: found 'x'; expected a list, such as [x, y]"),
        (("[x, y]\n", "[x, on]\n"), "line 9: loss.columns.1: found True; expected text, such as 'True' in quotes"),
        (
            ("filter_opts: {columns: [t, layer]}", "filter_opts: t"),
            "expected a mapping with keys among column",
        ),
        (("names: train/.*loss", f"names: {'(' * 10_000}"), "line 6: loss.names: found '((("),
    ],
)
def test_an_error_names_file_line_key_found_and_allowed(change: tuple[str, str], says: str) -> None:
    """Each kind of mistake is one line that leads to its place."""
    text = CONTRACT.replace(*change)
    assert text != CONTRACT
    with pytest.raises(SchemaError) as caught:
        parse(text, "plots.yaml")
    assert all(fault.startswith("plots.yaml, ") and "\n" not in fault for fault in caught.value.faults)
    assert says in str(caught.value)


def faults(text: str) -> list[str]:
    with pytest.raises(SchemaError) as caught:
        parse(text, "plots.yaml")
    assert str(caught.value).splitlines() == list(caught.value.faults)
    return [fault.removeprefix("plots.yaml, ").partition(";")[0] for fault in caught.value.faults]


def test_all_faults_are_told_at_once() -> None:
    """In the order of plots, a mistyped key before what is wrong besides; what it was meant to be is not missing."""
    text = CONTRACT.replace("glyph_kind: line", "glyph_kind: lien").replace("  columns: [x, y]\n", "  colums: [x, y]\n")
    text = text.replace("text: Loss", "txt: Loss").replace("glyph_kind: scatter", "glyph_kind: scater")
    assert faults(f"{text}more: 3\n") == [
        "line 18: more: found 3",
        "line 9: loss.colums: found the unknown key 'colums' (did you mean columns?)",
        "line 7: loss.glyph_kind: found 'lien' (did you mean line?)",
        "line 13: loss.figure_kwargs.title.txt: found the unknown key 'txt' (did you mean text?)",
        "line 15: cloud.glyph_kind: found 'scater' (did you mean scatter?)",
    ]


def test_what_is_wrong_in_the_defaults_is_told_once() -> None:
    """However many plots have it from there; for each kind of drawing that has no such property."""
    text = "DEFAULTS: {glyph_kwargs: {size: 3}, color: {palette: nope}}\n"
    plots = "".join(f"p{n}: {{columns: [x, y], glyph_kind: {kind}}}\n" for n, kind in enumerate(["line", "step"] * 3))
    assert faults(text + plots) == [
        "line 1: DEFAULTS.color.palette: found 'nope', which is no Bokeh palette",
        "line 1: DEFAULTS.glyph_kwargs.size: found the unknown key 'size'",
        "line 1: DEFAULTS.glyph_kwargs.size: found the unknown key 'size'",
    ]


@pytest.mark.parametrize(
    "text",
    [
        "loss: &a {columns: [x, y], figure_kwargs: *a}",
        "DEFAULTS: &a {figure_kwargs: *a}\nloss: &b {columns: [x, y], figure_kwargs: *b}",
        "a: &a [x, x]\n" + "".join(f"{b}: &{b} [{', '.join([f'*{a}'] * 9)}]\n" for a, b in pairwise("abcdefghij")),
    ],
)
def test_aliases_that_never_end_are_refused(text: str) -> None:
    """What holds itself, and what would be billions of values, is told about in a moment."""
    assert all(len(fault) < 300 for fault in faults(text))


@pytest.mark.parametrize(
    "text", ["", "- a\n- b\n", "loss\n", "DEFAULTS: {}\n", "loss: 3\n", "1: {columns: [x, y]}\n", "!!x y"]
)
def test_a_text_that_is_no_schema_is_refused(text: str) -> None:
    """Whatever YAML allows beside a mapping of plots ends in a schema error."""
    with pytest.raises(SchemaError, match=r"plots\.yaml"):
        parse(text, "plots.yaml")


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    """A missing file, a folder and bytes that are no text are schema errors."""
    binary = tmp_path / "binary.yaml"
    binary.write_bytes(b"\xff\xfe\x00")
    for path in (tmp_path / "none.yaml", tmp_path, binary):
        with pytest.raises(SchemaError, match=str(path)):
            load(path)


def test_plots_are_inferred_from_names_and_columns() -> None:
    """step/value and x/y are lines; x, y, t is a cloud with a slider; single columns are no plot."""
    topics = [
        Topic(1, "run", "loss", ("step", "value")),
        Topic(2, "run", "acc", ("epoch", "step", "time", "value")),
        Topic(3, "run", "cloud", ("t", "x", "y")),
        Topic(4, "run", "single", ("a",)),
        Topic(5, "run", "a,b", ("p", "q", "r")),
    ]
    plots = infer(topics).plots
    assert {name: (plot.glyph_kind, plot.columns, plot.sliders) for name, plot in plots.items()} == {
        "a_b": ("line", ["p", "q"], ()),
        "acc": ("line", ["step", "value"], ()),
        "cloud": ("scatter", ["x", "y"], ("t",)),
        "loss": ("line", ["step", "value"], ()),
    }


@pytest.mark.parametrize(
    ("columns", "kind", "drawn"),
    [
        (("count", "epoch", "step", "time", "value"), "line", ["value", "count"]),
        (("step", "value", "x", "y"), "heatmap", ["x", "y", "value"]),
        (("blue", "green", "red", "step", "x", "y"), "heatmap", ["x", "y", "green"]),
        (("second", "step", "value"), "line", ["second", "value"]),
    ],
)
def test_histograms_images_and_sounds_are_inferred_with_a_slider(
    columns: tuple[str, ...], kind: str, drawn: list[str]
) -> None:
    """As the integrations log them: many points for each step."""
    plot = infer([Topic(1, "run", "name", columns)]).plots["name"]
    assert (plot.glyph_kind, plot.columns, plot.sliders) == (kind, drawn, ("step",))


def test_a_figure_shows_dollar_signs_as_they_stand() -> None:
    """Names are text: Bokeh must not read a pair of dollar signs as a formula."""
    plot = parse("p: {columns: [x, y], figure_kwargs: {title: {text: $$x$$}}}", "s").plots["p"]
    made = build(Cell("p0", "p"), plot)
    assert "$$" not in made.title.text


def test_columns_that_only_another_run_has_do_not_split_its_lines() -> None:
    """An inferred plot ignores what any run logs beside the two columns that it draws."""
    topics = [
        Topic(1, "plain", "loss", ("step", "value")),
        Topic(2, "lightning", "loss", ("epoch", "step", "time", "value")),
    ]
    plot = infer(topics).plots["loss"]
    assert plot.columns == ["step", "value"]
    shown = Shown.of(Cell("p0", "loss"), Page("rows", ()), plot)
    assert [shown.splits(topic) for topic in topics] == [(), ()]
    assert infer(topics[:1]).plots == infer(topics).plots  # nothing changes under a page that is open
