"""Hyperparameters of any kind become JSON's types, and what cannot is noted."""

from __future__ import annotations

import argparse
import json
import math
import os
from collections import OrderedDict, deque, namedtuple
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum, IntEnum, StrEnum
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf

from streamvis.client import Client
from streamvis.errors import UsageError
from streamvis.hyperparameters import MAX_DEPTH, Notes, plain
from streamvis.logger import DataLogger
from streamvis.server.run import serving
from streamvis.storage.rules import merged_config

_SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(st.characters(codec="utf-8"))
)
_JSON = st.recursive(
    _SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(codec="utf-8")), inner)
)


def same(found: Any, expected: Any) -> bool:
    """Equal, in types as well."""
    if type(found) is not type(expected):
        return False
    if isinstance(expected, dict):
        return found.keys() == expected.keys() and all(same(found[key], value) for key, value in expected.items())
    if isinstance(expected, list):
        return len(found) == len(expected) and all(map(same, found, expected))
    return repr(found) == repr(expected)  # which tells 0.0 from -0.0, and NaN is NaN


@given(_JSON)
def test_json_is_kept_as_it_is(value: Any) -> None:
    """Types too, also through the text that is stored; and as a copy."""
    notes: Notes = {}
    found = plain(value, notes)
    assert same(found, value)
    assert same(json.loads(json.dumps(found)), value)
    assert notes == {}


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, -0.0, 1, 1.0, True, 2**70, None, "", "\0é🎉"])
def test_a_scalar_comes_back_from_the_server(value: Any, tmp_path: Path) -> None:
    """1 as an int, 1.0 as a float, and those that JSON itself does not have."""
    with serving() as server, DataLogger("run", server.uri, spool_dir=tmp_path) as logger, Client(server.uri) as client:
        logger.write_config({"value": value, "list": [value], "dict": {"value": value}})
        logger.flush(10)
        found = client.config("run")
    assert same(found, {"value": value, "list": [value], "dict": {"value": value}})


class Color(Enum):
    """Values of two kinds."""

    RED = "red"
    DEEP = Path("/deep")


class Size(IntEnum):
    """Ints."""

    BIG = 3


class Mode(StrEnum):
    """Strings."""

    FAST = "fast"


@dataclass
class Options:
    """One dataclass, with a dict inside."""

    depth: int
    inner: Any = field(default_factory=lambda: {"where": Path("/data")})


Pair = namedtuple("Pair", ["first", "second"])  # noqa: PYI024 - what programs of others have


class Table(Mapping[str, int]):
    """A mapping that is no dict."""

    def __getitem__(self, key: str) -> int:
        return {"a": 1, "b": 2}[key]

    def __iter__(self) -> Iterator[str]:
        return iter("ab")

    def __len__(self) -> int:
        return 2


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (np.int64(3), 3),
        (np.uint8(3), 3),
        (np.float32(0.5), 0.5),
        (np.float64(0.1), 0.1),
        (np.bool_(True), True),
        (np.str_("a"), "a"),
        (np.arange(3), [0, 1, 2]),
        (np.eye(2), [[1.0, 0.0], [0.0, 1.0]]),
        (torch.tensor(2), 2),
        (torch.ones(2), [1.0, 1.0]),
        ((1, (2.0,)), [1, [2.0]]),
        (Pair(1, "b"), [1, "b"]),
        (deque([1]), [1]),
        (torch.Size([2, 3]), [2, 3]),
        (OrderedDict(b=1, a=2), {"b": 1, "a": 2}),
        (MappingProxyType({"a": 1}), {"a": 1}),
        (Table(), {"a": 1, "b": 2}),
        (argparse.Namespace(lr=0.1, inner=argparse.Namespace(depth=1)), {"lr": 0.1, "inner": {"depth": 1}}),
        (Options(2), {"depth": 2, "inner": {"where": "/data"}}),
        (PurePosixPath("/a/b"), "/a/b"),
        (Color.RED, "red"),
        (Color.DEEP, "/deep"),
        (Size.BIG, 3),
        (Mode.FAST, "fast"),
        (torch.nn.ReLU, "torch.nn.modules.activation.ReLU"),
        (math.sqrt, "math.sqrt"),
    ],
)
def test_what_means_json_becomes_it(value: Any, expected: Any) -> None:
    """Without a note, at the top and within containers."""
    notes: Notes = {}
    found = plain({"value": value, "list": [value]}, notes)
    assert found == {"value": expected, "list": [expected]}
    assert type(found["value"]) is type(expected) or isinstance(value, (IntEnum, StrEnum, np.float64, np.str_))
    assert json.loads(json.dumps(found)) == found
    assert notes == {}


def test_omegaconf_becomes_what_it_holds() -> None:
    """With interpolations resolved; what is missing or cannot be resolved stays as it is written."""
    conf = OmegaConf.create({"lr": 0.1, "twice": "${lr}", "layers": [1, {"size": "???"}], "color": Color.RED})
    assert plain({"conf": conf}, {}) == {
        "conf": {"lr": 0.1, "twice": 0.1, "layers": [1, {"size": "???"}], "color": "red"}
    }
    assert plain(OmegaConf.structured(Options(3)), {}) == {"depth": 3, "inner": {"where": "/data"}}
    assert plain(OmegaConf.create({"lr": 1, "bad": "${nowhere}"}), {}) == {"lr": 1, "bad": "${nowhere}"}


class Unprintable:
    """Its repr raises."""

    def __repr__(self) -> str:
        raise ArithmeticError


class Unreadable:
    """Whatever is asked of it, it raises what nobody expects."""

    def __getattr__(self, name: str) -> Any:
        raise MemoryError(name)


class Broken(Table):
    """Its items raise."""

    def __getitem__(self, key: str) -> int:
        raise SystemError(key)


@pytest.mark.parametrize(
    ("make", "shown"),
    [
        (lambda: {1}, "{1}"),
        (lambda: b"a", "b'a'"),
        (lambda: 1j, "1j"),
        (lambda: range(3), "range(0, 3)"),
        (lambda: np.zeros(1000), "array([0., 0., "),
        (object, "<object object at "),
        (Unprintable, "<Unprintable instance at "),
        (Unreadable, "<"),
        (Broken, "<"),
        (lambda: 10**5000, "<int instance at "),
    ],
)
def test_anything_else_is_its_repr(make: Callable[[], Any], shown: str) -> None:
    """With a note by its dotted name, and cut when it is long; objects that cannot even be read are no matter."""
    notes: Notes = {}
    value = make()
    found = plain({"a": [0, value], "lr": 1}, notes)
    assert found["lr"] == 1
    assert found["a"][1].startswith(shown)
    assert len(found["a"][1]) <= 400
    assert notes == {"a.1": f"is a {type(value).__name__}, of which the repr is kept"}


def test_a_file_name_that_is_no_text_is_escaped() -> None:
    """Half a surrogate pair is no character: no store could keep it."""
    notes: Notes = {}
    assert plain({"path": os.fsdecode(b"/data/\xff"), "\udc80": 1}, notes) == {"path": "/data/\\udcff", "\\udc80": 1}
    assert len(notes) == 2


def _cycle() -> dict[str, Any]:
    values: dict[str, Any] = {"lr": 1, "inner": [{}]}
    values["inner"][0]["again"] = values
    return values


def _deep(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = {"a": value}
    return value


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (_cycle(), r"config inner\.0\.again contains itself"),
        ({"a": {1: 2}}, r"config key 1 in a is no string"),
        ({2: 1}, r"config key 2 in the top level is no string"),
        (_deep(5000), r"is nested deeper than 64 levels"),
    ],
)
def test_what_cannot_be_a_config_is_a_mistake_or_a_note(value: Any, message: str) -> None:
    """For a caller that asks for leniency the rest is kept."""
    with pytest.raises(UsageError, match=message):
        plain(value, {})
    notes: Notes = {}
    assert merged_config("run", {}, plain(value, notes, lenient=True))
    assert bool(notes) == ("no string" not in message)


def test_the_same_container_twice_is_no_cycle() -> None:
    """Only one within itself is."""
    shared = {"a": 1}
    assert plain({"x": shared, "y": [shared, shared]}, {}) == {"x": shared, "y": [shared, shared]}


@pytest.mark.parametrize(("levels", "fits"), [(MAX_DEPTH - 1, True), (MAX_DEPTH, False)])
def test_what_is_too_deep_for_a_store_is_refused_at_once(levels: int, fits: bool) -> None:
    """The limits of both are the same."""
    for check in (lambda: plain(_deep(levels), {}), lambda: merged_config("run", {}, _deep(levels))):
        if fits:
            check()
        else:
            with pytest.raises(UsageError):
                check()


def test_a_config_is_a_copy() -> None:
    """What the program changes afterwards is not stored."""
    values = {"a": [1, {"b": 2}]}
    found = plain(values, {})
    values["a"][1]["b"] = 3  # type: ignore[index]  # a dict
    assert found == {"a": [1, {"b": 2}]}


def test_a_logger_takes_all_kinds_and_warns_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Whole configs that are no dicts, and one line about what is not kept as it is, however often it comes."""
    with serving() as server, DataLogger("run", server.uri, spool_dir=tmp_path) as logger:
        for _ in range(3):
            logger.write_config(argparse.Namespace(lr=0.1, tags={1}, data=[Unprintable(), b"a"]))
        logger.write_config(OmegaConf.create({"color": Color.RED}))
        logger.write_config(Options(2))
        for wrong in (7, [1], "text"):
            with pytest.raises(UsageError, match="expected a dict with string keys"):
                logger.write_config(wrong)
        with pytest.raises(UsageError, match="contains itself"):
            logger.write_config(_cycle())
        logger.write_config({"after": 1})
        logger.flush(10)
        with Client(server.uri) as client:
            config = client.config("run")
    data = config.pop("data")
    assert config == {"lr": 0.1, "tags": "{1}", "color": "red", "depth": 2, "inner": {"where": "/data"}, "after": 1}
    assert (data[0].startswith("<Unprintable instance"), data[1]) == (True, "b'a'")
    notes = [f"{path} is a {kind}, of which the repr is kept" for path, kind in KINDS.items()]
    said = [record.getMessage() for record in caplog.records]
    assert said == [f"config of 'run': {'; '.join(notes)} (said once)"]


KINDS = {"tags": "set", "data.0": "Unprintable", "data.1": "bytes"}
