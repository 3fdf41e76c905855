"""Arrays in the host's memory: numpy, sequences of numbers, buffers, anything with `__array__` or DLPack."""

from __future__ import annotations

import array
import functools
import logging
from typing import Any

import numpy as np

from streamvis.columns import Array
from streamvis.errors import DtypeError

_KINDS = (np.ndarray, np.generic, int, float, list, tuple, range, array.array, memoryview)
_PROTOCOLS = ("__array__", "__array_interface__", "__dlpack__")
_HOST_DEVICES = (1, 3)  # DLPack's numbers for the host's memory, pageable and pinned
_ADVICE = "copy it to the host yourself, or install a plugin with an adapter for it"

_log = logging.getLogger("streamvis")


def is_host(kind: type) -> bool:
    """Whether numpy makes an array of such values."""
    return issubclass(kind, _KINDS) or any(hasattr(kind, protocol) for protocol in _PROTOCOLS)


def host_array(value: Any) -> Array:
    """A copy: callers reuse their buffers. Raises DtypeError when numpy cannot make an array of it."""
    try:
        if isinstance(value, _KINDS):
            return np.array(value, copy=True, order="C")
        return _foreign(value)
    except (TypeError, ValueError, OverflowError, RuntimeError, BufferError) as error:
        raise DtypeError(
            f"is a {_name(type(value))} of which numpy makes no array; expected numbers in rows of one length: {error}"
        ) from error


def _foreign(value: Any) -> Array:
    kind: type = type(value)
    if _is_elsewhere(value):
        if not hasattr(kind, "__array__"):
            raise TypeError(f"it is not in the host's memory; {_ADVICE}")
        _notice(kind)
    if hasattr(kind, "__array__") or hasattr(kind, "__array_interface__"):
        return np.array(value, copy=True, order="C")
    return np.array(np.from_dlpack(value), copy=True, order="C")


def _is_elsewhere(value: Any) -> bool:
    """Whether DLPack says that the memory is not the host's."""
    device = getattr(value, "__dlpack_device__", None)
    return device is not None and device()[0] not in _HOST_DEVICES


@functools.cache
def _notice(kind: type) -> None:
    _log.warning("write waits for the device when it copies a %s, said once; %s", _name(kind), _ADVICE)


def _name(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"
