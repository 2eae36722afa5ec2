"""Runs a module-style Python step: ``python module.py SCRIPT``, the context as JSON on stdin.

Imports the script, calls its ``run(context)``, and prints what it returns as one FLOW_RESULT line. Exits with 0 as
soon as that line is out, whatever threads or timers are still busy; with 1 after a failed result when anything went
wrong, the traceback on stderr. ``sys.exit`` in the step is the step's own word: its code stands and no result is
printed.

Started by the step's interpreter, which may be older than flowd's: standard library only, nothing newer than 3.8.
"""

import sys

if __name__ == "__main__":
    # The step's folder takes this file's place, before anything is imported, as if Python had started the script.
    _here = sys.path[0] if sys.path and sys.path[0] == __file__.rpartition("/")[0] else None
    if _here is not None:
        del sys.path[0]

import atexit
import importlib.machinery
import importlib.util
import inspect
import json
import os
import select
import stat
import threading
import traceback
from collections.abc import Awaitable
from types import ModuleType, TracebackType
from typing import Any

STATUSES = ("skipped", "completed", "changed", "needs_intervention", "blocked", "failed")
MAX_RESULT_BYTES = 1024 * 1024
"""flowd reads no longer line as a result."""

CLEANUP_S = 2.0
"""How long exit handlers and cancelled tasks may take once the result is out."""


class BadReturnError(Exception):
    """The step returned something that is no result."""


class _Script(importlib.machinery.SourceFileLoader):
    """Loads the script from its source alone: no ``__pycache__`` beside it, and none that an edit within the same
    second could leave stale."""

    def path_stats(self, path: Any) -> Any:
        raise OSError(f"no bytecode for {path}")


def main(script: str) -> int:
    """Run the step and return the process's exit code."""
    try:
        context = json.load(sys.stdin.buffer)
        sys.argv = [script]
        sys.path.insert(0, os.path.dirname(os.path.realpath(script)))
        result = _run(_load(script), context)
        line = _line(result)
    except (SystemExit, KeyboardInterrupt):
        raise
    except BaseException as error:  # noqa: BLE001 - whatever a step throws, asyncio.CancelledError too, is its failure
        _print_traceback(error)
        _write_line(_line({"status": "failed", "message": _message(error)}))
        return 1
    _write_line(line)
    return 0


def _load(script: str) -> ModuleType:
    name = _module_name(script)
    spec = importlib.util.spec_from_file_location(name, script, loader=_Script(name, script))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # Registered before it runs: dataclasses, pickling and multiprocessing look a class's module up by its name.
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def _module_name(script: str) -> str:
    stem = os.path.splitext(os.path.basename(script))[0]
    taken = stem in sys.modules or stem in getattr(sys, "stdlib_module_names", ())
    return stem if stem.isidentifier() and not taken else "flow_step"


def _run(module: ModuleType, context: Any) -> Any:
    function = getattr(module, "run", None)
    if not callable(function):
        raise BadReturnError("the script has no function run(context)")
    result = function(context)
    return _settle(result) if inspect.isawaitable(result) else result


def _settle(awaitable: "Awaitable[Any]") -> Any:
    import asyncio  # noqa: PLC0415 - 40 ms that a synchronous step does not pay

    async def settle() -> Any:
        return await awaitable

    # Not asyncio.run: it waits for worker threads without a bound before it returns.
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    try:
        return loop.run_until_complete(settle())
    finally:
        tasks = asyncio.all_tasks(loop)
        for task in tasks:
            task.cancel()
        if tasks:
            loop.run_until_complete(asyncio.wait(tasks, timeout=CLEANUP_S))


def _line(result: Any) -> bytes:
    if not isinstance(result, dict):
        raise BadReturnError(f"run(context) must return a dict with a status; it returned {type(result).__name__}")
    status = result.get("status")
    if not isinstance(status, str) or status not in STATUSES:
        raise BadReturnError(f"the returned status must be one of {', '.join(STATUSES)}; it is {status!r}")
    try:
        text = json.dumps(result, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    except (TypeError, ValueError, RecursionError) as error:
        raise BadReturnError(f"the returned dict cannot be written as JSON: {error}") from error
    line = b"FLOW_RESULT " + text.encode("utf-8", "replace") + b"\n"
    if len(line) > MAX_RESULT_BYTES:
        raise BadReturnError(
            f"the result has {len(line)} bytes as JSON; {MAX_RESULT_BYTES} is the most."
            " Write what is large into a file and name it in artifacts"
        )
    return line


def _write_line(line: bytes) -> None:
    """Put the line on stdout, past Python's buffers, on a line of its own."""
    _flush()
    rest = memoryview(line if _is_at_line_start() else b"\n" + line)
    try:
        while rest:
            try:
                rest = rest[os.write(1, rest) :]
            except BlockingIOError:  # a program that the step has started, such as Node, made the pipe so for all
                select.select([], [1], [])
    except BrokenPipeError:
        pass  # nobody reads; the exit code still tells


def _is_at_line_start() -> bool:
    """Whether stdout's last byte ends a line. Where that cannot be told, a blank line does no harm."""
    try:
        info = os.fstat(1)
        if not stat.S_ISREG(info.st_mode):
            return False
        if info.st_size == 0:
            return True
        # The descriptor itself is for appending only.
        with open("/proc/self/fd/1", "rb") as stream:
            stream.seek(-1, os.SEEK_END)
            return stream.read(1) == b"\n"
    except OSError:
        return False


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError, AttributeError):
            pass  # the step closed or replaced it


def _print_traceback(error: BaseException) -> None:
    _flush()
    trace = error.__traceback__
    while trace is not None and _is_ours(trace):
        trace = trace.tb_next
    try:
        traceback.print_exception(type(error), error, trace)
    except Exception:  # noqa: BLE001 - an exception that cannot even be printed must not hide the failure
        os.write(2, f"{type(error).__name__}\n".encode())


def _is_ours(trace: TracebackType) -> bool:
    name = trace.tb_frame.f_code.co_filename
    return name == __file__ or name.startswith("<frozen importlib")


def _message(error: BaseException) -> str:
    if isinstance(error, BadReturnError):
        return str(error)
    try:
        text = str(error)
    except Exception:  # noqa: BLE001 - the same
        text = ""
    kind = type(error).__name__
    return f"{kind}: {text}" if text else kind


def _leave(code: int) -> None:
    """End the process now: run the exit handlers for a moment, and wait for no thread."""
    handlers = getattr(atexit, "_run_exitfuncs", None)
    if handlers is not None:
        # In a thread, because some of them (multiprocessing's) wait for children without a bound.
        thread = threading.Thread(target=handlers, daemon=True)
        thread.start()
        thread.join(CLEANUP_S)
    _flush()
    os._exit(code)


if __name__ == "__main__":
    _leave(main(sys.argv[1]))
