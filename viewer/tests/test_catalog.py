"""What exists, as the first page is told: everything once, then changes alone."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from streamvis import Config, Topic, Update
from streamvis_viewer.catalog import Catalog
from streamvis_viewer.inference import infer
from streamvis_viewer.landing import listing, most_telling, page_url, plain, plots_of
from streamvis_viewer.layout import parse
from streamvis_viewer.schema import Plot, Schema

SCHEMA = Schema({"loss": Plot(columns=["x", "y"]), "cloud": Plot(columns=["x", "z"], names="cloud")}, "plots.yaml")
STATE = {"server": {"state": "live"}}


def update(*topics: Topic, configs: tuple[Config, ...] = ()) -> Update:
    return Update(topics, configs, (), b"", 0)


def gone(topic: Topic) -> Topic:
    return Topic(topic.id, topic.scope, topic.name, topic.columns, deleted=True)


LOSS = Topic(1, "run1", "loss", ("x", "y"))
CLOUD = Topic(2, "run1", "cloud", ("x", "z"))
OTHER = Topic(3, "run2", "loss", ("x", "y"))


def test_everything_is_told_once() -> None:
    """Scopes with their configs, names with their columns and plots, plots with what they draw."""
    catalog = Catalog()
    catalog.take([update(LOSS, CLOUD, OTHER, configs=(Config("run1", {"lr": 0.1}),))])
    told = listing(catalog, SCHEMA, STATE, -1)
    assert told["whole"]
    assert told["scopes"] == [
        {"scope": "run1", "order": 1, "names": 2, "config": {"lr": 0.1}},
        {"scope": "run2", "order": 2, "names": 1, "config": {}},
    ]
    assert told["names"] == [
        {"name": "cloud", "scopes": 1, "columns": ["x, z"], "plots": ["cloud"]},
        {"name": "loss", "scopes": 2, "columns": ["x, y"], "plots": ["loss"]},
    ]
    assert told["plots"] == [
        {"plot": "loss", "kind": "line", "columns": ["x", "y"], "names": 1},
        {"plot": "cloud", "kind": "line", "columns": ["x", "z"], "names": 1},
    ]


def test_later_only_changes_are_told() -> None:
    """A new run, a new config, a status, a deletion; and nothing when nothing has happened."""
    catalog = Catalog()
    catalog.take([update(LOSS, CLOUD)])
    seen = catalog.version
    assert listing(catalog, SCHEMA, STATE, seen)["scopes"] == []
    assert "names" not in listing(catalog, SCHEMA, STATE, seen)
    catalog.take([update(OTHER)])
    assert [entry["scope"] for entry in listing(catalog, SCHEMA, STATE, seen)["scopes"]] == ["run2"]
    seen = catalog.version
    catalog.take([update(configs=(Config("run1", {"lr": 1}),))])
    catalog.take_status([("run2", {"status": "running"}), ("unknown", {"status": "running"})])
    told = listing(catalog, SCHEMA, STATE, seen)["scopes"]
    assert [(entry["scope"], entry.get("status")) for entry in told] == [("run1", None), ("run2", "running")]
    seen = catalog.version
    catalog.take_status([("run2", {"status": "running"})])
    assert listing(catalog, SCHEMA, STATE, seen)["scopes"] == []
    catalog.take([update(gone(OTHER))])
    told = listing(catalog, SCHEMA, STATE, seen)
    assert (told["scopes"], told["gone"]) == ([], ["run2"])
    assert [name["scopes"] for name in told["names"] if name["name"] == "loss"] == [1]


def test_a_scope_that_is_restored_is_told_again() -> None:
    """With its config, which had stayed known."""
    catalog = Catalog()
    catalog.take([update(LOSS, configs=(Config("run1", {"lr": 1}),))])
    catalog.take([update(gone(LOSS))])
    seen = catalog.version
    assert listing(catalog, SCHEMA, STATE, -1)["scopes"] == []
    catalog.take([update(gone(LOSS), LOSS)])
    told = listing(catalog, SCHEMA, STATE, seen)
    assert [entry["config"] for entry in told["scopes"]] == [{"lr": 1}]
    assert told["gone"] == []


topics = st.lists(
    st.tuples(st.integers(1, 12), st.sampled_from("ab"), st.sampled_from("mn"), st.sampled_from([("x",), ("x", "y")])),
    unique_by=lambda topic: topic[0],
)


@given(
    topics, st.lists(st.tuples(st.integers(1, 12), st.booleans()), min_size=1, max_size=30), st.sets(st.integers(0, 30))
)
def test_changes_put_together_are_the_whole(
    known: list[tuple[int, str, str, tuple[str, ...]]], steps: list[tuple[int, bool]], looks: set[int]
) -> None:
    """Whoever applies what is told now and then knows what one who asks at the end is told."""
    by_id = {number: Topic(number, scope, name, columns) for number, scope, name, columns in known}
    catalog, held, seen = Catalog(), {}, -1
    for at, (number, exists) in enumerate(steps):
        if number in by_id:
            catalog.take([update(by_id[number] if exists else gone(by_id[number]))])
        if at in looks or at == len(steps) - 1:
            told = listing(catalog, SCHEMA, STATE, seen)
            seen = catalog.version
            held.update({entry["scope"]: entry for entry in told["scopes"]})
            for scope in told["gone"]:
                held.pop(scope, None)
    assert held == {entry["scope"]: entry for entry in listing(catalog, SCHEMA, STATE, -1)["scopes"]}
    assert len(catalog.examples) == len({(topic.name, topic.columns) for topic in catalog.topics.values()})


def test_links_lead_to_pages() -> None:
    """Of scopes and names with any characters, with the plots inferred from the data."""
    named = ["a,b;c", "x&y", "ü $$", "train/loss"]
    topics = [Topic(n, f"run {n} (a+b)|c", name, ("x", "y")) for n, name in enumerate(named, 1)]
    schema = infer(topics)
    for topic in topics:
        plots = plots_of(schema, [topic])
        page = parse(_query(page_url(plots, [topic.scope], [topic.name])), schema)
        assert len(page.cells) == 1
    several = _query(page_url(plots_of(schema, topics), [topic.scope for topic in topics]))
    assert len(parse(several, schema).cells) == 4
    assert several["rows"] == ["a_b_c,train/loss;x&y,ü $$"]
    assert page_url(["a", "b"]) == "/plot?rows=a;b"


def _query(url: str) -> dict[str, list[str]]:
    from streamvis_viewer.web import read_query_string

    return read_query_string(url.partition("?")[2])


def test_configs_are_told_as_json_can_say_it() -> None:
    """NaN and infinities become text; what is none of JSON's types, too."""
    value = {"a": float("nan"), "b": [1, 1.5, True, None, float("-inf")], "c": {"d": "e"}, "f": object}
    told = plain(value)
    assert told["a"] == "nan"
    assert told["b"] == [1, 1.5, True, None, "-inf"]
    assert told["c"] == {"d": "e"}
    assert isinstance(told["f"], str)


def test_of_many_plots_those_that_tell_most_are_opened() -> None:
    """Losses, then scores; few plots stay in their order."""
    few = ["grad_norm", "hidden", "train/loss"]
    assert most_telling(few) == few
    assert most_telling([*few, "a", "b", "val/Acc", "c", "val/loss"]) == [
        "train/loss",
        "val/loss",
        "val/Acc",
        "grad_norm",
        "hidden",
        "a",
    ]
