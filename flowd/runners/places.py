"""Finds a step's folder and script on disk. Its refusals name the one that is at fault."""

import errno
import os
import re
import shlex
import shutil
import stat
import sys
from collections.abc import Mapping
from pathlib import Path

from flowd.domain.definition import Definition
from flowd.domain.launching import SpawnError
from flowd.domain.script import HEAD_BYTES, head_problem

_ASSIGNMENT = re.compile(r"[A-Za-z_]\w*=")


def working_folder(definition: Definition, workspace: Path) -> str:
    """The absolute folder that the step runs in.

    None is the flow's folder; ``@`` the workspace and ``@/x`` a folder in it, also after following symbolic links;
    anything else is relative to the flow's folder.

    Raises:
        SpawnError: It is not there, no folder, not to be entered, or ``@/x`` leads out of the workspace.
    """
    root, written = definition.flow_root, definition.cwd
    if not os.path.isdir(root):
        raise SpawnError(
            f"{definition.label}: the flow's folder {root} is gone; put the package back and retry the run"
        )
    if written is None:
        return root
    if written == "@" or written.startswith("@/"):
        base = os.path.realpath(workspace)
        folder = os.path.realpath(os.path.join(base, written[2:]))
        if os.path.commonpath([base, folder]) != base:
            raise SpawnError(f"{definition.label}: cwd {written!r} leads to {folder}, outside the workspace {base}")
    else:
        folder = os.path.normpath(os.path.join(os.path.realpath(root), written))
    what = f"{definition.label}: cwd {written!r} is {folder}, which"
    try:
        mode = os.stat(folder).st_mode
    except (OSError, ValueError) as error:
        reason = "does not exist" if isinstance(error, FileNotFoundError) else f"cannot be used ({_reason(error)})"
        raise SpawnError(f"{what} {reason}; make it or correct the step's cwd in {root}/flow.toml") from error
    if not stat.S_ISDIR(mode):
        raise SpawnError(f"{what} is not a folder; correct the step's cwd in {root}/flow.toml")
    if not os.access(folder, os.X_OK):
        raise SpawnError(f"{what} flowd may not enter; give its user the right to (chmod u+x)")
    return folder


def script_path(definition: Definition) -> str:
    """The absolute path of the step's script: a regular file that can be read.

    Raises:
        SpawnError: It is not.
    """
    path = os.path.join(definition.flow_root, definition.script)
    if ".." in definition.script.split("/"):
        path = os.path.realpath(path) if "\0" not in path else path
    what = f"{definition.label}: the script {path}"
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError) as error:
        reason = "does not exist" if isinstance(error, FileNotFoundError) else f"cannot be used ({_reason(error)})"
        raise SpawnError(
            f"{what} {reason}; put it there or correct the step's script in {definition.flow_root}/flow.toml"
        ) from error
    if not stat.S_ISREG(mode):
        raise SpawnError(f"{what} is {_kind(mode)}, not a regular file")
    if not os.access(path, os.R_OK) and definition.runner != "exec":
        raise SpawnError(f"{what} cannot be read by flowd's user; run `chmod u+r {shlex.quote(path)}`")
    return path


def check_executable(label: str, path: str, environ: Mapping[str, str]) -> None:
    """Make sure that the kernel can start the file: run bit, and a ``#!`` line whose interpreter is there.

    Args:
        label: ``flow/step``.
        environ: The step's environment, for PATH.

    Raises:
        SpawnError: It cannot, with the cause that the kernel's bare ENOENT, EACCES or ENOEXEC would hide.
    """
    what = f"{label}: the script {path}"
    if not os.stat(path).st_mode & 0o111:
        raise SpawnError(f"{what} is not executable; run `chmod +x {shlex.quote(path)}`")
    if not os.access(path, os.X_OK):
        raise SpawnError(f"{what} may not be executed by flowd's user, or lies on a filesystem mounted noexec")
    try:
        with open(path, "rb") as stream:
            head = stream.read(HEAD_BYTES)
    except OSError:
        return  # to be run, but not to be read: then it is no script
    if problem := head_problem(head):
        raise SpawnError(f"{what} {problem}")
    if head.startswith(b"#!"):
        _check_interpreter(what, head, environ)


def _check_interpreter(what: str, head: bytes, environ: Mapping[str, str]) -> None:
    words = os.fsdecode(head[2:].split(b"\n", 1)[0]).split()
    if not os.path.isfile(words[0]):
        raise SpawnError(f"{what} asks for the interpreter {words[0]}, which does not exist; install it or correct #!")
    if not os.access(words[0], os.X_OK):
        raise SpawnError(f"{what} asks for the interpreter {words[0]}, which is not executable")
    if os.path.basename(words[0]) == "env":
        _check_program_of_env(what, words[1:], environ)


def _check_program_of_env(what: str, words: list[str], environ: Mapping[str, str]) -> None:
    if len(words) > 1 and not words[0].startswith("-") and sys.platform == "linux":
        # Linux hands all that follows over as one argument.
        joined = " ".join(words)
        raise SpawnError(f"{what} begins with #!/usr/bin/env {joined}; write #!/usr/bin/env -S {joined}")
    if words and words[0] in ("-S", "--split-string"):
        words = words[1:]
    program = next((word for word in words if not _ASSIGNMENT.match(word)), None)
    if program is None or program.startswith("-"):
        return  # other options of env: let it judge for itself
    if shutil.which(program, path=environ.get("PATH", os.defpath)) is None:
        raise SpawnError(
            f"{what} asks env for {program}, which is not on the step's PATH; install it, or set PATH in the step's env"
        )


def _reason(error: OSError | ValueError) -> str:
    if isinstance(error, OSError) and error.errno is not None:
        return f"{os.strerror(error.errno)}, {errno.errorcode.get(error.errno, error.errno)}"
    return str(error)


def _kind(mode: int) -> str:
    kinds = {stat.S_IFDIR: "a folder", stat.S_IFIFO: "a named pipe", stat.S_IFSOCK: "a socket"}
    return kinds.get(stat.S_IFMT(mode), "a device")
