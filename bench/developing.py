"""`flowd dev`: from a save until what the step writes first is there, beyond what the step takes by itself."""

import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import IO

from bench.daemon import add_flow, running, scratch
from bench.figures import Figure
from bench.subjects import Subject

SAVES = 20


def developing(subject: Subject) -> Iterator[Figure]:
    """A loop of saves, without a daemon and beside one that has had the event."""
    with scratch() as workspace:
        program = add_flow(workspace, "worked-on", "try.go")
        (program.parent / "event.json").write_text('{"id": "e1", "type": "try.go"}', encoding="utf-8")
        yield from _saves(subject, workspace, program, "without a daemon")
        with running(subject, workspace) as daemon:
            daemon.call("flow.dispatch", event={"id": "e1", "type": "try.go"}, wait=True)
            yield from _saves(subject, workspace, program, "beside a daemon")


def _saves(subject: Subject, workspace: Path, program: Path, where: str) -> Iterator[Figure]:
    argv = [subject.flowd, "dev", "-w", str(workspace)]
    began = time.perf_counter()
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        try:
            assert process.stdout is not None
            _until(process.stdout, "Watching ")
            yield Figure(f"dev: start until it watches, {where}", (time.perf_counter() - began) * 1000, "ms")
            time.sleep(1)
            found = [_save_ms(process.stdout, program, number) for number in range(SAVES)]
            yield Figure(f"dev: first save until output, {where}", found[0], "ms")
            yield Figure(f"dev: save until output, less the step's own, p50, {where}", median(found[1:]), "ms")
            yield Figure(f"dev: the same, slowest, {where}", max(found[1:]), "ms")
        finally:
            process.terminate()


def _save_ms(out: IO[str], program: Path, number: int) -> float:
    """Save as most editors do, by a rename, and wait for the line. What the step takes alone is measured beside it."""
    new = program.with_suffix(".new")
    new.write_text(f'#!/bin/sh\necho first {number}\necho \'FLOW_RESULT {{"status":"completed"}}\'\n', encoding="utf-8")
    new.chmod(0o755)
    began = time.perf_counter()
    os.replace(new, program)
    _until(out, f"first {number}")
    took_s = time.perf_counter() - began
    _until(out, "worked-on/")
    began = time.perf_counter()
    with subprocess.Popen([str(program)], stdout=subprocess.PIPE, text=True) as alone:
        assert alone.stdout is not None
        alone.stdout.readline()
        own_s = time.perf_counter() - began
    time.sleep(0.2)
    return (took_s - own_s) * 1000


def _until(out: IO[str], begin: str) -> None:
    while not (line := out.readline()).startswith(begin):
        assert line, "it ended"
