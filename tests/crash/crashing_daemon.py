"""``flowd`` with crash points around the store and the keeper, for the crash harness. flowd knows nothing of it.

Run as ``python crashing_daemon.py ARMING_FOLDER serve -w WORKSPACE``. Both adapters are wrapped where the composition
root chooses them, so everything between is the real thing.
"""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from crashpoint import KEEPER, LEASES, STORE, WRITER, CrashPoints


def main() -> None:
    """Be flowd, with points to die at."""
    arming = Path(sys.argv.pop(1))
    from flowd.executors.direct import launcher  # noqa: PLC0415
    from flowd.wiring import executor, store  # noqa: PLC0415

    points = CrashPoints(str(arming / "daemon"))
    store.SqliteStore = _crashing(store.SqliteStore, "store", STORE, points)  # type: ignore[misc]
    if "FLOWD_STORE" in os.environ:
        _crash_shared(points)
    executor.DirectExecutor = _crashing(executor.DirectExecutor, "keeper", KEEPER, points)  # type: ignore[misc]
    launcher._BOOTSTRAP = (
        f"import sys; sys.path[:0] = [sys.argv[1], {str(Path(__file__).parent)!r}];"
        f"from crashing_keeper import main; main({str(arming / 'keeper')!r}, *sys.argv[2:])"
    )
    from flowd.cli.main import main as cli  # noqa: PLC0415

    cli()


def _crash_shared(points: CrashPoints) -> None:
    from flowd.store.postgres import shared  # noqa: PLC0415
    from flowd.store.postgres.connection import PostgresWriter  # noqa: PLC0415

    shared.SharedStore = _crashing(shared.SharedStore, "store", (*STORE, *LEASES), points)  # type: ignore[misc]
    for name in WRITER:
        setattr(PostgresWriter, name, _around_at_once(getattr(PostgresWriter, name), f"writer.{name}", points))


def _crashing(adapter: type[Any], port: str, methods: tuple[str, ...], points: CrashPoints) -> type[Any]:
    return type(
        adapter.__name__,
        (adapter,),
        {name: _around(getattr(adapter, name), f"{port}.{name}", points) for name in methods},
    )


def _around(method: Callable[..., Any], name: str, points: CrashPoints) -> Callable[..., Any]:
    async def wrapped(self: object, *args: Any, **kwargs: Any) -> Any:
        points.pass_by(f"{name}:before")
        value = await method(self, *args, **kwargs)
        points.pass_by(f"{name}:after")
        return value

    return wrapped


def _around_at_once(method: Callable[..., Any], name: str, points: CrashPoints) -> Callable[..., Any]:
    def wrapped(self: object, *args: Any) -> Any:
        points.pass_by(f"{name}:before")
        value = method(self, *args)
        points.pass_by(f"{name}:after")
        return value

    return wrapped


if __name__ == "__main__":
    main()
