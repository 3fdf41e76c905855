"""The commands of the seed's two demos."""

from __future__ import annotations

import click

from streamvis import settings
from streamvis.cli.program import URI, command


def _demo_arguments(arguments: tuple[str, ...]) -> tuple[str, str, int]:
    """(GRPC_URI, SCOPE, NUM_STEPS) of an argument list in which only SCOPE is required."""
    first_is_uri = bool(arguments) and bool(URI.fullmatch(arguments[0]))
    uri, rest = (arguments[0], arguments[1:]) if first_is_uri else (settings.grpc_uri(), arguments)
    if not 1 <= len(rest) <= 2:
        raise click.UsageError("expected [GRPC_URI] SCOPE [NUM_STEPS]", click.get_current_context())
    steps = rest[1] if len(rest) == 2 else "2000"
    if not steps.isdecimal():
        raise click.UsageError(f"NUM_STEPS is {steps!r}; expected a number of steps", click.get_current_context())
    return uri, rest[0], int(steps)


_demo_argument = click.argument("arguments", nargs=-1, metavar="[GRPC_URI] SCOPE [NUM_STEPS]")
_delay = click.option("--delay", default=0.1, show_default=True, help="Seconds between writes.")


@command("logging-demo", "localhost:8081 run24 2000")
@_demo_argument
@_delay
def logging_demo(arguments: tuple[str, ...], delay: float) -> None:
    """Logs a moving cloud and waves into SCOPE.

    Without GRPC_URI, which is host:port or unix:path, the environment's STREAMVIS_GRPC_URI counts.
    """
    from streamvis.demos.sync import demo_log_data

    demo_log_data(*_demo_arguments(arguments), delay=delay)


@command("logging-demo-async", "localhost:8081 run24 2000")
@_demo_argument
@_delay
def logging_demo_async(arguments: tuple[str, ...], delay: float) -> None:
    """Does the same through AsyncDataLogger."""
    import asyncio

    from streamvis.demos.async_ import demo_log_data_async

    asyncio.run(demo_log_data_async(*_demo_arguments(arguments), delay=delay))
