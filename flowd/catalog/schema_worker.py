"""The process that makes costly checks. It has nothing to lose: over its budget of CPU time the kernel ends it.

It reads requests on stdin and writes answers on stdout, both as lines of JSON; a payload's event follows its request's
line as it is. When stdin ends, so does it.
"""

import json
import os
import resource
import signal
import sys
from typing import Any, BinaryIO, Final

from flowd.catalog.schema_files import MissingDocumentError, SchemaFileError
from flowd.catalog.schema_validator import Run
from flowd.catalog.schemas import compile_here
from flowd.domain.payload_check import SchemaSource

MAX_MEMORY_BYTES: Final = 2 << 30
"""A schema that needs more ends the process and nothing else."""


def main() -> None:
    """Answer requests until there are no more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of a terminal, meant for the daemon
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    most = MAX_MEMORY_BYTES if hard == resource.RLIM_INFINITY else min(MAX_MEMORY_BYTES, hard)
    if soft == resource.RLIM_INFINITY or soft > most:
        resource.setrlimit(resource.RLIMIT_DATA, (most, hard))
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    # What a library prints must not get into the answers.
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    _Worker(sys.stdin.buffer, answers).work()


class _Worker:
    def __init__(self, requests: BinaryIO, answers: BinaryIO) -> None:
        self._requests = requests
        self._answers = answers
        self._checks: dict[str, Run] = {}

    def work(self) -> None:
        while line := self._requests.readline():
            request = json.loads(line)
            for source in request["sources"]:
                self._compile(source, budget_s=request["compileS"])
            if request["keys"]:
                body = self._requests.read(request["bodyBytes"])
                self._check(json.loads(body)["payload"], request["keys"], budget_s=request["budgetS"])

    def _compile(self, members: dict[str, Any], *, budget_s: float) -> None:
        documents = {path: text.encode("latin-1") for path, text in members["documents"].items()}
        source = SchemaSource(members["path"], members["package"], documents, members["isSubset"])
        signal.setitimer(signal.ITIMER_PROF, budget_s)
        try:
            self._checks[source.key] = compile_here(source)
        except MissingDocumentError as missing:
            self._answer({"needs": missing.args[0]})
        except SchemaFileError as error:
            self._answer({"error": [error.file, error.message, error.remedy, error.line]})
        else:
            self._answer({"compiled": source.key})
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)

    def _check(self, payload: object, keys: list[str], *, budget_s: float) -> None:
        """Check by all of these within one budget, and tell each answer at once."""
        signal.setitimer(signal.ITIMER_PROF, budget_s)
        for key in keys:
            errors = self._checks[key](payload)
            self._answer({"key": key, "errors": [[error.path, error.keyword, error.message] for error in errors]})
        signal.setitimer(signal.ITIMER_PROF, 0)

    def _answer(self, answer: dict[str, Any]) -> None:
        self._answers.write(json.dumps(answer).encode() + b"\n")
        self._answers.flush()
