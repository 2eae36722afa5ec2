"""A process that has imported flowd and done nothing yet. Most daemons and commands of the tests are copies of it.

Two thirds of a daemon's start are imports, and four fifths of most commands: the same ones thousands of times. A copy
(a fork) begins where these have ended: its arguments, environment, folder, limits and streams are those it is started
with, in ``/proc`` as well, and from there on it runs what ``python -m flowd`` runs. Each has what only a daemon with
HTTP and other verbs import, too. `daemon_copy` and `command_copy` are the side of the tests, and say when one is
executed instead.

This is a program. It is told by messages at descriptor 0, and ends when nobody can send any more.
"""

import gc

gc.disable()  # as `flowd.__main__` does, which turns it on again

import array  # noqa: E402
import contextlib  # noqa: E402
import json  # noqa: E402
import os  # noqa: E402
import pkgutil  # noqa: E402
import resource  # noqa: E402
import signal  # noqa: E402
import socket  # noqa: E402
import sys  # noqa: E402
from importlib import import_module  # noqa: E402

import flowd.__main__  # noqa: E402
import flowd.api.http.server  # noqa: E402
import flowd.checking  # noqa: E402
import flowd.cli  # noqa: E402
import flowd.copies  # noqa: E402
import flowd.daemon.process  # noqa: E402
import flowd.doctor  # noqa: E402
import flowd.embedded  # noqa: E402
import flowd.importing  # noqa: E402
import flowd.page.render  # noqa: E402
import flowd.page.routes  # noqa: E402
import flowd.page.site  # noqa: E402
import flowd.settings.sources  # noqa: E402

for package in (flowd.checking, flowd.cli, flowd.copies, flowd.doctor, flowd.embedded, flowd.importing):
    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        with contextlib.suppress(ImportError):  # what is not on every machine is imported by who needs it
            import_module(module.name)

MAX_MESSAGE_BYTES = 1 << 17
"""More than any environment that a test has."""


def serve(tests: socket.socket) -> None:
    """Make copies, and tell how they ended; return in each copy."""
    fd_bytes = socket.CMSG_SPACE(3 * array.array("i").itemsize)
    while True:
        data, ancillary, _, _ = tests.recvmsg(MAX_MESSAGE_BYTES, fd_bytes)
        if not data:
            sys.exit()
        message = json.loads(data)
        if "reap" in message:  # one that has ended: until now, nobody else could have its number
            tests.send(json.dumps(os.waitpid(message["reap"], 0)[1]).encode())
            continue
        streams = array.array("i", ancillary[0][2])
        if pid := os.fork():
            for stream in streams:
                os.close(stream)
            tests.send(json.dumps(pid).encode())
            continue
        tests.close()
        become(message, streams)
        return


def become(message: dict, streams: array.array) -> None:
    """Make this copy what an execution would have made of it."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    for limit, bounds in message["limits"]:
        resource.setrlimit(limit, bounds)
    os.chdir(message["folder"])
    sys.path[0] = message["folder"]
    sys.argv = [flowd.__main__.__file__, *message["words"]]
    # C's own list has new memory for each variable after this, so that what it had may be written over.
    os.environ.clear()
    os.environ.update(message["environ"])
    show([sys.executable, "-m", "flowd", *message["words"]], [f"{name}={it}" for name, it in os.environ.items()])


def show(argv: list[str], environ: list[str]) -> None:
    """Have ``/proc`` tell these arguments and this environment: it reads them where the kernel has put the first."""
    with open("/proc/self/stat", "rb") as file:
        places = list(map(int, file.read().rpartition(b")")[2].split()[45:49]))
    with open("/proc/self/mem", "r+b", buffering=0) as memory:
        for words, begin, end in ((argv, *places[:2]), (environ, *places[2:])):
            data = b"".join(os.fsencode(word) + b"\0" for word in words)
            assert len(data) <= end - begin, "the template is started with too little room"
            memory.seek(begin)
            memory.write(data.ljust(end - begin, b"\0"))


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the tests, and these end us
    serve(socket.socket(fileno=0))
    flowd.__main__.main()
