"""Every code block of the README and the docs runs."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from docs import pictures
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


@pytest.mark.parametrize("page", pictures.PAGES, ids=lambda page: str(page.name))
def test_each_example_has_a_picture(page: Path) -> None:
    """Which follows it, and is no larger than it must be; there are no others."""
    found = list(pictures.examples(page))
    assert len(found) == len(_blocks(page, "url")) + (len(_blocks(page, "yaml")) if page.stem == "schema" else 0)
    assert all(example.picture.stat().st_size < 64 * 1024 for example in found)
    shown = {example.picture for page in pictures.PAGES for example in pictures.examples(page)}
    assert shown == set((ROOT / "docs" / "pictures").iterdir())


def test_every_key_of_an_address_stands_in_an_example() -> None:
    """But that of machines with a graphics card."""
    addresses = "".join(_blocks(ROOT / "docs" / "urls.md", "url")).splitlines()
    queries = [parse_qs(urlsplit(address).query, keep_blank_values=True) for address in addresses]
    assert {key for query in queries for key in query} - {"colour"} == {*layout.KEYS} - {"gl"}


@pytest.mark.browser
def test_the_examples_draw() -> None:
    """Each schema and each address that has a picture, with the runs of the pictures; the wrong one is refused."""
    refused = {
        example.picture.stem for example, page in pictures.opened(pictures.PAGES) if page.locator(".document").count()
    }
    assert refused == {"refused"}


def test_the_messages_of_the_docs_are_those_of_the_code() -> None:
    """Each part of those in the last table of the page on logging, around what differs from case to case."""
    source = "".join(path.read_text() for path in (ROOT / "streamvis").rglob("*.py"))
    source = re.sub(r'["\']\s*\n\s*f?["\']', "", source)  # strings over several lines
    table = (ROOT / "docs" / "logging.md").read_text().partition("## What it says")[2]
    messages = [
        message for row in re.findall(r"^\| (`.*?`) \|", table, re.MULTILINE) for message in re.findall("`(.*?)`", row)
    ]
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
