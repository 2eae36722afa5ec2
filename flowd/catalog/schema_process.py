"""Compiles costly schemas, and checks by them, in a process that can be killed. Blocking; not for the event loop."""

import json
import os
import select
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from flowd.catalog.schema_files import SchemaFileError
from flowd.domain.matching import Answer
from flowd.domain.payload_check import SchemaError, SchemaSource

COMPILE_S: Final = 2.0
"""CPU time for compiling one schema; the largest that a package may hold takes a quarter of it."""

WALL_S: Final = 20.0
"""How long an answer may take on a machine that gives the process no CPU time."""

_MAX_KNOWN: Final = 200
"""Schemas that one process compiles before another takes its place."""

_MAX_FILES: Final = 100
_BOOTSTRAP: Final = "import sys; sys.path[:] = sys.argv[1:]; from flowd.catalog.schema_worker import main; main()"
_OVER_BUDGET: Final = "the check needs more than the {ms} ms of CPU time that the checks of an event may take"


class WorkerLostError(Exception):
    """The process ended, or was ended, before it had answered. ``was_slow``: for having used up its CPU time."""

    def __init__(self, message: str, *, was_slow: bool) -> None:
        super().__init__(message)
        self.was_slow = was_slow


class SchemaProcess:
    """One worker process, started when it is needed and again after it was lost. For several threads, one at a time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._worker: subprocess.Popen[bytes] | None = None
        self._received = b""
        self._known: set[str] = set()
        # By these the worker was lost, so they come last: the others get their answers before it is lost again.
        self._slow: Counter[str] = Counter()
        self._is_closed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def compile(self, source: SchemaSource, load: Callable[[str], bytes]) -> SchemaSource:
        """Try a schema out; gives it with the files that ``load`` gave for its references.

        Raises:
            SchemaFileError: It is no usable schema, or takes more than `COMPILE_S`; or ``load`` raised it.
        """
        for _ in range(_MAX_FILES):
            answer = self._tried(source)
            if "error" in answer:
                raise SchemaFileError(*answer["error"])
            if "needs" not in answer:
                return source
            file = answer["needs"]
            texts = {**source.documents, file: load(file)}
            source = SchemaSource(source.path, source.package, texts, source.is_subset)
        message = f"the schema refers to more than {_MAX_FILES} files"
        raise SchemaFileError(source.path, message, "Put them together.")

    def check(self, sources: Sequence[SchemaSource], body: bytes, *, budget_s: float) -> dict[str, Answer]:
        """Check the payload of an event by all of these schemas, within ``budget_s`` of CPU time in all.

        Never raises for anything that schema or payload hold; every source gets its answer.
        """
        with self._lock:
            wanted = sorted(sources, key=lambda source: self._slow[source.key])
            answers: dict[str, Answer] = {}
            why = "flowd is being stopped"
            try:
                self._learn(wanted)
                keys = [source.key for source in wanted]
                self._ask([], keys=keys, body=body, budget_s=budget_s)
                for _ in keys:
                    told = self._answer()
                    self._slow.pop(told["key"], None)
                    answers[told["key"]] = Answer(tuple(SchemaError(*error) for error in told["errors"]))
            except WorkerLostError as lost:
                why = _OVER_BUDGET.format(ms=round(budget_s * 1000)) if lost.was_slow else str(lost)
            except SchemaFileError as error:  # compiled before, so this is a matter of time or of memory
                why = error.message
            missing = [source.key for source in wanted if source.key not in answers]
            self._slow.update(missing[:1])
            return answers | {key: Answer(None, f"{why}, so nobody knows whether the payload fits") for key in missing}

    def close(self) -> None:
        """End the process, whatever it is at. Who waits for its answer is told that there is none."""
        self._is_closed = True
        worker = self._worker
        if worker is not None:
            worker.kill()
        with self._lock:
            self._drop()

    def _tried(self, source: SchemaSource) -> dict[str, Any]:
        with self._lock:
            try:
                return self._compiled(source)
            except WorkerLostError as lost:
                why = f"takes more than {COMPILE_S:g} s to compile" if lost.was_slow else f"cannot be compiled: {lost}"
        raise SchemaFileError(
            source.path, f"the schema {why}", "Make it smaller: fewer references, unevaluatedProperties and patterns."
        )

    def _learn(self, sources: Sequence[SchemaSource]) -> None:
        for source in sources:
            if source.key not in self._known:
                answer = self._compiled(source)
                if "error" in answer:
                    raise SchemaFileError(*answer["error"])

    def _compiled(self, source: SchemaSource) -> dict[str, Any]:
        self._ask([source])
        answer = self._answer()
        if "compiled" in answer:
            self._known.add(answer["compiled"])
        return answer

    def _ask(
        self, sources: Sequence[SchemaSource], *, keys: Sequence[str] = (), body: bytes = b"", budget_s: float = 0.0
    ) -> None:
        request = {
            "sources": [
                {
                    "path": source.path,
                    "package": source.package,
                    "documents": {path: text.decode("latin-1") for path, text in source.documents.items()},
                    "isSubset": source.is_subset,
                }
                for source in sources
            ],
            "compileS": COMPILE_S,
            "keys": list(keys),
            "budgetS": budget_s,
            "bodyBytes": len(body),
        }
        worker = self._running()
        assert worker.stdin is not None
        try:
            worker.stdin.write(json.dumps(request).encode() + b"\n" + body)
            worker.stdin.flush()
        except OSError as error:
            raise self._lost(worker) from error

    def _answer(self) -> dict[str, Any]:
        worker = self._worker
        assert worker is not None
        assert worker.stdout is not None
        while b"\n" not in self._received:
            data = _read(worker.stdout.fileno())
            if not data:
                worker.kill()
                raise self._lost(worker)
            self._received += data
        line, _, self._received = self._received.partition(b"\n")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _running(self) -> subprocess.Popen[bytes]:
        if self._is_closed:
            raise WorkerLostError("flowd is being stopped", was_slow=False)
        if self._worker is not None and len(self._known) >= _MAX_KNOWN:
            self._drop()
        if self._worker is None:
            self._worker = _start()
        return self._worker

    def _lost(self, worker: subprocess.Popen[bytes]) -> WorkerLostError:
        self._drop()
        code = worker.returncode
        if code == -signal.SIGPROF:
            return WorkerLostError("it used up its CPU time", was_slow=True)
        how = f"ended with {code}" if code >= 0 else f"was ended by {signal.Signals(-code).name}"
        return WorkerLostError(f"the process that makes the check {how}", was_slow=False)

    def _drop(self) -> None:
        worker, self._worker = self._worker, None
        self._received = b""
        self._known.clear()
        if worker is not None:
            worker.kill()
            worker.wait()
            for stream in (worker.stdin, worker.stdout):
                if stream is not None:
                    try:
                        stream.close()
                    except OSError:  # what was not yet written goes to nobody
                        pass


def _read(fd: int) -> bytes:
    """What comes next; nothing where the process has ended, or is silent for too long."""
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return os.read(fd, 65_536) if poll.poll(WALL_S * 1000) else b""


def _start() -> subprocess.Popen[bytes]:
    # The modules that we have, and nothing that the environment or the working directory could add.
    try:
        return subprocess.Popen(
            [sys.executable, "-I", "-c", _BOOTSTRAP, *(str(Path(path).absolute()) for path in sys.path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd="/",
            start_new_session=True,
        )
    except OSError as error:
        raise WorkerLostError(f"no process for the check could be started: {error}", was_slow=False) from error
