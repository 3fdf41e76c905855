"""Closing a client's websocket for good."""

import asyncio

from tornado.websocket import WebSocketClientConnection


async def hang_up(connection: WebSocketClientConnection) -> None:
    """Returns when the connection's socket is closed, whoever closed it first; reads what is under way."""
    protocol = connection.protocol
    connection.close()
    while protocol and connection.close_code is None and await connection.read_message() is not None:
        pass
    if protocol is not None:
        async with asyncio.timeout(20):
            while not protocol.stream.closed():  # noqa: ASYNC110 - tornado tells nobody
                await asyncio.sleep(0.005)
