"""Sends what loggers left on disk."""

from __future__ import annotations

import contextlib
import functools
import logging
import sys
import time
from pathlib import Path
from queue import Empty, SimpleQueue

from streamvis.delivery import ANSWER_TIMEOUT, Answer, Delivery, Lost, SpoolOptions
from streamvis.errors import RejectedError, SpoolError, StreamvisError, UnavailableError
from streamvis.refused import Refused, only
from streamvis.relay import open_link
from streamvis.spool import DAMAGED, REJECTED, Loss, Spool, claim, leftovers, segment_files
from streamvis.transport import OpenLink

_log = logging.getLogger("streamvis")


def push(root: str | Path, uri: str) -> int:
    """Sends what loggers left in their spools under `root`, and deletes it; gives the number of batches sent.

    Batches that the server has already are recognised by it. Spools of processes that still run are left to them, and
    SPOOL/rejected is to whoever pushes that very directory, when the reason is gone.

    Raises UnavailableError when the server is away; after the end, when everything else has been sent, RejectedError
    for points that it refused and SpoolError for files that are damaged or cannot be read.
    """
    left, busy = leftovers(Path(root))
    for path in busy:
        _log.warning("%s is in use by a logger or another push that still runs, which it is left to", path)
    sent, errors = 0, list[StreamvisError]()
    for path in left:
        try:
            sent += _push_one(path, functools.partial(open_link, uri))
        except (RejectedError, SpoolError) as error:
            errors.append(error)
    if errors:
        raise type(errors[0])("; ".join(map(str, errors)))
    return sent


def _push_one(path: Path, open_link: OpenLink) -> int:
    events: SimpleQueue[Answer | Lost] = SimpleQueue()
    root = path.parent.parent if path.parent.name == REJECTED else path.parent
    options = SpoolOptions(path.parent, sys.maxsize, 32 << 20)
    with contextlib.suppress(OSError):  # a spool that cannot be written to can be sent all the same
        claim(path)
    try:
        spool = Spool.existing(path)
    except SpoolError:
        if segment_files(path):
            raise
        return 0  # another push has just sent it
    delivery = Delivery.resume(spool, open_link, options, events.put)
    kept = Refused(root, path.name.rpartition("-")[0], sys.maxsize)
    before = delivery.outstanding
    try:
        losses, refused = _deliver(path, delivery, events, kept)
        spool.discard()
        if segment_files(path):
            _log.warning("%s has been sent and cannot be deleted; another push of it adds nothing", path)
    except Empty:
        raise UnavailableError(f"the server has not answered for {ANSWER_TIMEOUT:.0f} s") from None
    finally:
        delivery.close()
        kept.close()
    told = [
        f"{loss}; everything else was sent, and the damaged files are in {path.parent / DAMAGED}" for loss in losses
    ]
    if refused:
        told.append(f"the server refused some points, kept in {kept.path}: {'; '.join(refused)}")
    if told:
        raise (SpoolError if losses else RejectedError)("; ".join(told))
    return before


def _deliver(
    path: Path, delivery: Delivery, events: SimpleQueue[Answer | Lost], kept: Refused
) -> tuple[list[Loss], list[str]]:
    """Delivers everything; gives what was found to be lost, and why the server refused some, each reason once."""
    losses: list[Loss] = []
    refused: dict[str, None] = {}
    while delivery.outstanding:
        delivery.pump(time.monotonic())
        missing = delivery.take_losses()
        losses += missing if segment_files(path) else []  # else another push has sent it all
        event = events.get(timeout=ANSWER_TIMEOUT)
        rejection = delivery.take(event, time.monotonic())
        if isinstance(event, Lost) and delivery.away:
            raise event.error
        if rejection is not None:
            kept.keep(only(*rejection))
            refused |= dict.fromkeys(rejection[1].values())
    return losses + delivery.take_losses(), list(refused)
