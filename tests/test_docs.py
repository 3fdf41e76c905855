"""Every code block of the README and the docs runs."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import parse_qs

import pytest

from streamvis import plugins
from streamvis.server.run import serving
from streamvis_viewer import layout, schema

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "examples" / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def _blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)


@pytest.mark.filterwarnings(
    r"ignore:`isinstance\(treespec, LeafSpec\)` is deprecated:FutureWarning"
)  # Lightning's call
@pytest.mark.filterwarnings("ignore:The '.*_dataloader' does not have many workers:UserWarning")  # its advice
@pytest.mark.filterwarnings("ignore:GPU available but not used:UserWarning")  # the pages take what there is
@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_python_of_a_page_runs(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From its first block to its last, in one program, against a real server."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    names: dict[str, object] = {}
    plugins.default.cache_clear()
    try:
        with serving() as server:
            for block in _blocks(page, "python"):
                exec(compile(block.replace("localhost:8081", server.uri), page.name, "exec"), names)
    finally:
        plugins.default.cache_clear()  # a page may register a plugin


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_schemas_of_a_page_load(page: Path, tmp_path: Path) -> None:
    """Each YAML block is a schema that the viewer takes."""
    for block in _blocks(page, "yaml"):
        file = tmp_path / "plots.yaml"
        file.write_text(block)
        assert schema.load(file)


def test_the_addresses_of_the_docs_describe_pages() -> None:
    """Each line of the blocks of addresses, with the schema of their page; every key stands in one of them."""
    page = ROOT / "docs" / "urls.md"
    plots = schema.parse(_blocks(page, "yaml")[0], page.name)
    addresses = "".join(_blocks(page, "url")).splitlines()
    queries = [parse_qs(address.removeprefix("/?"), keep_blank_values=True) for address in addresses]
    assert all(layout.parse(query, plots).cells for query in queries)
    assert {key for query in queries for key in query} == {*layout.KEYS} - {"gl"}


def test_the_messages_of_the_docs_are_those_of_the_code() -> None:
    """Each part of those in the last table of the page on logging, around what differs from case to case."""
    source = "".join(path.read_text() for path in (ROOT / "streamvis").rglob("*.py"))
    source = re.sub(r'["\']\s*\n\s*f?["\']', "", source)  # strings over several lines
    table = (ROOT / "docs" / "logging.md").read_text().partition("## What it says")[2]
    messages = re.findall(r"^\| `(.*?)` \|", table, re.MULTILINE)
    assert len(messages) > 10
    for message in messages:
        for part in message.split("…"):
            assert part.strip() in source, message


def test_the_logging_example_is_short() -> None:
    """Twelve lines say all that a beginner needs."""
    assert len(_blocks(ROOT / "README.md", "python")[0].replace("\n\n", "\n").splitlines()) <= 12


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_links_of_a_page_lead_somewhere(page: Path) -> None:
    """Files that a page names exist."""
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text()):
        assert (page.parent / target).exists(), target
