"""Fixtures for everybody."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest
from daemon_rig import Workspace, workspace

try:
    from hypothesis import HealthCheck, settings
except ImportError:  # the machines of `make vm` have no more than they test
    settings = None  # type: ignore[assignment, misc]

# How long an example takes says how busy the machine is, and nothing of flowd.
if settings is not None:
    settings.register_profile("flowd", deadline=None, suppress_health_check=[HealthCheck.too_slow])
    settings.load_profile("flowd")

# Programs that tests start are to buffer their output as they do for users, whatever a developer's shell says.
os.environ.pop("PYTHONUNBUFFERED", None)

# Nor are they all to be compiled anew at each start: there are thousands.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False


@pytest.fixture(autouse=True, scope="session")
def _programs_can_be_interrupted() -> None:
    """Whoever is started in the background by a shell ignores SIGINT, and SIGHUP by ``nohup``, and so would every
    program that a test starts."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        signal.signal(signal.SIGHUP, lambda *_: None)  # we go on ignoring it; what we start has no such handler


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run a test that mounts something in a namespace of its own, where that takes root and we are an ordinary user."""
    if os.geteuid() == 0 or pyfuncitem.get_closest_marker("mounts") is None:
        return None
    unshare = ["unshare", "--user", "--map-root-user", "--mount"]
    if (tried := subprocess.run([*unshare, "true"], capture_output=True, text=True)).returncode:
        pytest.skip(f"NOT TESTED: what mounts something, because a user may not do that here: {tried.stderr.strip()}")
    alone = ["-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", pyfuncitem.nodeid]
    done = subprocess.run(
        [*unshare, sys.executable, *alone], capture_output=True, text=True, cwd=pyfuncitem.config.rootpath
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 passed" in done.stdout, done.stdout
    return True


@pytest.fixture
def place() -> Iterator[Workspace]:
    """A scratch workspace without a daemon yet."""
    with workspace() as it:
        yield it
