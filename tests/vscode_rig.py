"""A real VS Code, as code-server from the npm registry serves it, with flowd's extension in it.

It is no part of what other tests need: it is large, and parts of it are compiled. `install` has it below .tools.
"""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]
VERSION: Final = "4.99.4"  # the last one for node 20
HOME: Final = ROOT / ".tools" / f"code-server-{VERSION}"
SERVER: Final = HOME / "node_modules" / "code-server"
PACKAGE: Final = ROOT / "clients" / "vscode" / "build" / "flowd.vsix"
READY: Final = HOME / ".ready"

_COMPILED: Final = ("native-watchdog", "@vscode/spdlog", "@parcel/watcher", "node-pty")
"""Of what VS Code needs: the rest is for Windows, or for proxies that ask who one is."""

_SETTINGS: Final = {
    "chat.commandCenter.enabled": False,
    "editor.accessibilitySupport": "off",
    "extensions.autoCheckUpdates": False,
    "security.workspace.trust.enabled": False,
    "telemetry.telemetryLevel": "off",
    "terminal.integrated.gpuAcceleration": "off",  # so that its text is text
    "window.commandCenter": False,
    "window.title": "releases",
    "workbench.colorTheme": "Default Light Modern",
    "workbench.startupEditor": "none",
    "workbench.tips.enabled": False,
}


def install() -> None:
    """Have code-server below .tools. Its own installer wants to compile more, and to download what no registry has."""
    if READY.exists():
        return
    shutil.rmtree(HOME, ignore_errors=True)
    HOME.mkdir(parents=True)
    (HOME / "package.json").write_text('{"private": true}\n', encoding="utf-8")
    _npm(HOME, "install", "--ignore-scripts", f"code-server@{VERSION}")
    code = SERVER / "lib" / "vscode"
    for folder in (code, code / "extensions"):
        _npm(folder, "install", "--ignore-scripts", "--omit=dev")
    (code / "node_modules.asar").symlink_to("node_modules")
    for name in _COMPILED:
        _npm(code, "rebuild", name)
    _npm(HOME, "rebuild", "argon2")
    READY.touch()


def _npm(folder: Path, *words: str) -> None:
    environment = {**os.environ, "npm_config_yes": "true"}
    argv = ["npm", *words, "--no-audit", "--no-fund"]
    done = subprocess.run(argv, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0 or words[0] == "rebuild", f"{argv} in {folder}:\n{done.stdout}{done.stderr}"


@contextlib.contextmanager
def vscode(folder: Path, port: int, **settings: object) -> Iterator[str]:
    """The address of a VS Code that has flowd's extension; all that it keeps is in ``folder``."""
    user = folder / "user"
    (user / "User").mkdir(parents=True)
    all_settings = {**_SETTINGS, "flowd.path": _flowd(folder), **settings}
    (user / "User" / "settings.json").write_text(json.dumps(all_settings), encoding="utf-8")
    config = folder / "config.yaml"
    config.write_text(f"auth: none\nbind-addr: 127.0.0.1:{port}\n", encoding="utf-8")
    argv = ["node", str(SERVER / "out" / "node" / "entry.js"), "--config", str(config)]
    argv += ["--user-data-dir", str(user), "--extensions-dir", str(folder / "extensions")]
    subprocess.run([*argv, "--install-extension", str(PACKAGE)], check=True, capture_output=True, timeout=120)
    with (folder / "server.log").open("ab") as log:
        process = subprocess.Popen(
            [*argv, "--disable-telemetry", "--disable-update-check"], stdout=log, stderr=log, start_new_session=True
        )
    try:
        _wait(f"http://127.0.0.1:{port}/healthz", process)
        yield f"http://127.0.0.1:{port}/"
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        process.wait(30)


def _flowd(folder: Path) -> str:
    """A program that is the flowd of this checkout."""
    program = folder / "flowd"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m flowd "$@"\n', encoding="utf-8")
    program.chmod(0o755)
    return str(program)


def _wait(address: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    while True:
        assert process.poll() is None, "code-server ended"
        assert time.monotonic() < deadline, "code-server does not answer"
        with contextlib.suppress(OSError), urllib.request.urlopen(address, timeout=5):
            return
        time.sleep(0.1)


if __name__ == "__main__":
    install()
