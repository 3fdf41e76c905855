"""Proof mode: fails at the line that makes the program wait for a device."""

from __future__ import annotations

import functools
import importlib
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, TypeAlias

from streamvis.errors import SyncError

_Counts: TypeAlias = Callable[[Any], bool]
"""Whether an array is one that nobody may wait for."""

_TORCH_METHODS = (
    "__array__",
    "__bool__",
    "__complex__",
    "__contains__",
    "__float__",
    "__index__",
    "__int__",
    "allclose",
    "argwhere",
    "cpu",
    "equal",
    "is_nonzero",
    "item",
    "masked_select",
    "nonzero",
    "numpy",
    "tolist",
    "unique",
)
_TORCH_FUNCTIONS = ("allclose", "argwhere", "equal", "is_nonzero", "masked_select", "nonzero", "unique")
_JAX_METHODS = (
    "__array__",
    "__bool__",
    "__complex__",
    "__float__",
    "__index__",
    "__int__",
    "block_until_ready",
    "item",
    "tolist",
)
_JAX_FUNCTIONS = ("block_until_ready", "device_get")
_NUMPY_FUNCTIONS = (
    "array",
    "asanyarray",
    "asarray",
    "ascontiguousarray",
    "concatenate",
    "copy",
    "hstack",
    "stack",
    "vstack",
)


@contextmanager
def assert_no_sync() -> Iterator[None]:
    """Fails where the block waits for a device, in the thread that runs it: for the tests of a training step.

        with streamvis.assert_no_sync():
            loss = train_step(batch)
            logger.write("loss", step=step, loss=loss)

    Such lines are `x.item()`, `x.cpu()`, `x.to("cpu")`, `x.tolist()`, `float(x)`, `if x:`, `x[x > 0]`, `np.asarray(x)`,
    `print(x)` or `x.block_until_ready()` of torch tensors and jax arrays. Where there is an accelerator, its arrays
    count, and the frameworks' own guards are on, with their own errors: `torch.cuda.set_sync_debug_mode("error")`,
    which holds for all threads, and `jax.transfer_guard_device_to_host("disallow")`. Elsewhere every array stands for
    one on a device, but for the step counters that optimizers keep on the host; there, keep data loaders and
    `batch.to(device)` out, and know that numpy's ufuncs read a jax array unseen, as in `np.exp(x)`.

    Raises:
        SyncError: an AssertionError whose traceback ends at the line.
    """
    watch = _watch()
    watch.enter()
    try:
        with _guards():
            yield
    finally:
        watch.leave()


class _Watch:
    """The threads that may not wait; while there are any, what waits is patched."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._threads: Counter[int] = Counter()
        self._patches = ExitStack()

    def enter(self) -> None:
        """Watches this thread."""
        with self._lock:
            if not self._threads:
                with ExitStack() as patches:  # all or, should one fail, nothing
                    self._patches = patches
                    _patch(self)
                    self._patches = patches.pop_all()
            self._threads[threading.get_ident()] += 1

    def leave(self) -> None:
        """Ends the latest `enter` of this thread."""
        with self._lock:
            self._threads -= Counter([threading.get_ident()])
            if not self._threads:
                self._patches.close()

    def here(self) -> bool:
        """Whether this thread is watched."""
        return threading.get_ident() in self._threads

    def replace(self, owner: Any, name: str, make: Callable[[Any], Any]) -> None:
        """Puts what `make` makes of an attribute in its place, until nobody is watched."""
        mine = name in vars(owner)
        original = vars(owner)[name] if mine else getattr(owner, name)
        setattr(owner, name, make(original))
        self._patches.callback(*((setattr, owner, name, original) if mine else (delattr, owner, name)))

    def method(self, owner: Any, name: str, counts: _Counts) -> None:
        """Makes a method, or a function by its first argument, fail for arrays that count."""

        def make(original: Any) -> Any:
            def guarded(*args: Any, **kwargs: Any) -> Any:
                if args and self.here() and counts(args[0]):
                    raise _error(f"{owner.__name__}.{name}")
                return original(*args, **kwargs)

            return guarded

        self.replace(owner, name, make)

    def undo_by(self, undo: Callable[[], object]) -> None:
        """Calls it when nobody is watched any more."""
        self._patches.callback(undo)


@functools.cache
def _watch() -> _Watch:
    return _Watch()


def _error(what: str) -> SyncError:
    return SyncError(f"{what} waits for the device; write the array itself: it is copied where it is, and moves later")


def _patch(watch: _Watch) -> None:
    torch, jax = sys.modules.get("torch"), sys.modules.get("jax")
    if torch is not None:
        _patch_torch(watch, torch)
    if jax is not None:
        _patch_jax(watch, jax)


def _patch_torch(watch: _Watch, torch: Any) -> None:
    stepping: dict[int, Any] = {}
    has_device = torch.accelerator.is_available()

    def counts(value: Any) -> bool:
        if not isinstance(value, torch.Tensor):
            return False
        if has_device:
            return bool(value.device.type != "cpu")
        optimizer = stepping.get(threading.get_ident())
        return optimizer is None or all(state.get("step") is not value for state in optimizer.state.values())

    def guarded_to(original: Any) -> Any:
        def to(self: Any, *args: Any, **kwargs: Any) -> Any:
            if watch.here() and counts(self) and _is_to_host(torch, *args, **kwargs):
                raise _error("Tensor.to('cpu')")
            return original(self, *args, **kwargs)

        return to

    for name in _TORCH_METHODS:
        watch.method(torch.Tensor, name, counts)
    for name in _TORCH_FUNCTIONS:
        watch.method(torch, name, counts)
    watch.replace(torch.Tensor, "to", guarded_to)
    _patch_masks(watch, torch, counts)
    for owner in (torch.cuda, torch.cuda.Stream, torch.cuda.Event, torch.mps, torch.accelerator):
        watch.replace(owner, "synchronize", functools.partial(_never, watch, owner.__name__))

    hooks = importlib.import_module("torch.optim.optimizer")
    begin = hooks.register_optimizer_step_pre_hook(
        lambda optimizer, *_: stepping.__setitem__(threading.get_ident(), optimizer)
    )
    end = hooks.register_optimizer_step_post_hook(lambda *_: stepping.pop(threading.get_ident(), None) and None)
    watch.undo_by(begin.remove)
    watch.undo_by(end.remove)


def _patch_masks(watch: _Watch, torch: Any, counts: _Counts) -> None:
    """Of what a mask takes, the device alone knows how much it is."""

    def is_mask(index: Any) -> bool:
        if isinstance(index, tuple):
            return any(map(is_mask, index))
        return isinstance(index, torch.Tensor) and index.dtype in (torch.bool, torch.uint8) and counts(index)

    def guarded_getitem(original: Any) -> Any:
        def getitem(self: Any, index: Any) -> Any:
            if watch.here() and is_mask(index):
                raise _error("indexing by a mask")
            return original(self, index)

        return getitem

    def guarded_where(original: Any) -> Any:
        def where(*args: Any, **kwargs: Any) -> Any:
            if watch.here() and len(args) + len(kwargs) == 1 and counts(next(iter((*args, *kwargs.values())))):
                raise _error("torch.where(condition)")
            return original(*args, **kwargs)

        return where

    watch.replace(torch.Tensor, "__getitem__", guarded_getitem)
    watch.replace(torch, "where", guarded_where)


def _never(watch: _Watch, owner: str, original: Any) -> Any:
    def synchronize(*args: Any, **kwargs: Any) -> Any:
        if watch.here():
            raise _error(f"{owner}.synchronize")
        return original(*args, **kwargs)

    return synchronize


def _is_to_host(torch: Any, *args: Any, **kwargs: Any) -> bool:
    """Whether these arguments of Tensor.to ask for the host, and wait."""
    target = kwargs.get("device", args[0] if args else None)
    if isinstance(target, torch.Tensor):
        target = target.device
    if not isinstance(target, (str, torch.device)) or kwargs.get("non_blocking"):
        return False
    return bool(torch.device(target).type == "cpu")


def _patch_jax(watch: _Watch, jax: Any) -> None:
    arrays = type(jax.numpy.zeros(()))
    has_device = jax.default_backend() != "cpu"

    def counts(value: Any) -> bool:
        if not isinstance(value, arrays):
            return any(map(counts, jax.tree.leaves(value))) if isinstance(value, (list, tuple, dict)) else False
        return not has_device or any(device.platform != "cpu" for device in value.sharding.device_set)

    def guarded_value(original: Any) -> Any:
        def value(self: Any) -> Any:
            if watch.here() and counts(self):
                raise _error("reading a jax.Array")
            return original.fget(self)

        return property(value)

    for name in _JAX_METHODS:
        watch.method(arrays, name, counts)
    watch.replace(arrays, "_value", guarded_value)
    for name in _JAX_FUNCTIONS:
        watch.method(jax, name, counts)
    for name in _NUMPY_FUNCTIONS:  # on the host, numpy reads a jax array's memory without asking it
        watch.method(sys.modules["numpy"], name, counts)


@contextmanager
def _guards() -> Iterator[None]:
    """The frameworks' own, where there is a device that they guard."""
    torch, jax = sys.modules.get("torch"), sys.modules.get("jax")
    with ExitStack() as guards:
        if torch is not None and torch.cuda.is_available():
            guards.callback(torch.cuda.set_sync_debug_mode, torch.cuda.get_sync_debug_mode())
            torch.cuda.set_sync_debug_mode("error")
        if jax is not None and jax.default_backend() != "cpu":
            guards.enter_context(jax.transfer_guard_device_to_host("disallow"))
        yield
