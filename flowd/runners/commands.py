"""Turns a step's definition into the command that an executor starts."""

import asyncio
import os
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from flowd.domain.definition import Definition
from flowd.domain.launching import Command, SpawnError, StepContext
from flowd.domain.step import CODE_MODE_PROBLEM
from flowd.formats.typed import to_json
from flowd.runners.context import document, needs_of
from flowd.runners.inputs import Inputs, find_inputs, has_inputs, has_secrets
from flowd.runners.interpreters import Interpreters
from flowd.runners.places import check_executable, script_path, working_folder
from flowd.runners.reach import Reach
from flowd.runners.secrets import StepSecrets
from flowd.runners.styles import Style, Styles
from flowd_client.discovery import REHEARSAL, STEP_WORKSPACE

BOOTSTRAPS: Final = Path(__file__).resolve().parent / "bootstraps"

_BACKEND_URL: Final = "CODEX_WORKSPACE_BACKEND_WS_URL"
_TYPESCRIPT: Final = (".ts", ".mts", ".cts")

# Linux refuses a single NAME=value of 32 pages (MAX_ARG_STRLEN) with a bare E2BIG.
_MAX_VARIABLE_BYTES: Final = 131_071
_MAX_ARGUMENT_BYTES: Final = _MAX_VARIABLE_BYTES

_MAX_CHECKED: Final = 10_000

_SECRET_THREADS: Final = 32
"""Secrets are read in threads of their own: commands may take seconds each, and all else would wait for them."""

# Larger contexts are put together in a thread, since indenting a megabyte takes milliseconds.
_LARGE_CONTEXT_BYTES: Final = 256 * 1024

_MAX_NEEDS_BYTES: Final = 32 * 1024
"""Of FLOWD_NEEDS. Programs that a step starts inherit it, and all variables and arguments together have a limit."""


class StepRunners:
    """Implements `flowd.ports.Runners` for bun, node, python and exec."""

    def __init__(
        self,
        *,
        workspace: Path,
        socket_path: str | None,
        environ: Mapping[str, str],
        interpreters: Mapping[str, str],
        launched_by: str = "flowd",
        is_rehearsal: bool = False,
        secrets: StepSecrets | None = None,
        reach: Reach | None = None,
    ) -> None:
        """Look nothing up yet.

        Args:
            workspace: What ``@`` stands for, and where version managers are asked.
            socket_path: Told to steps; None in local mode.
            environ: The environment that steps inherit: PATH is looked up in it, and the code-mode gate.
            interpreters: The ``[runners]`` settings by runner.
            launched_by: Told to steps.
            is_rehearsal: Steps are only tried out: their clients are to speak to this socket alone.
            secrets: Those that steps may be given.
            reach: What steps find behind all that is on their own paths.
        """
        self._workspace = workspace
        self._socket_path = socket_path
        self._environ = environ
        self._launched_by = launched_by
        self._is_rehearsal = is_rehearsal
        self._secrets = secrets or StepSecrets({}, environ)
        self._reach = reach
        self._interpreters = Interpreters(workspace=workspace, environ=environ, overrides=interpreters)
        self._styles = Styles()
        self._checked: dict[str, tuple[object, ...]] = {}
        self._secret_threads = ThreadPoolExecutor(_SECRET_THREADS, thread_name_prefix="secret")

    async def command(self, definition: Definition, context: StepContext) -> Command:
        """The command of a step, from the package as it is on disk now.

        What costs more than a few file status calls (asking a shim, reading a changed script, a large event) happens in
        a thread. Cancelling this call leaves nothing behind.

        Raises:
            SpawnError: Something is missing or unusable; the message names it and the remedy.
        """
        if definition.runner == "code-mode":
            raise SpawnError(self._refuse_code_mode(definition))
        cwd = working_folder(definition, self._workspace)
        script = script_path(definition)
        inputs = Inputs({}, tuple(map(str, definition.args)))
        if has_inputs(definition):
            inputs = await self._inputs(definition, context)
        env = self._env(definition, context, inputs)
        if self._is_known(definition, script):
            argv = self._argv(definition, script)
        else:
            argv = await asyncio.to_thread(self._argv, definition, script)
        if _size_bytes(context) > _LARGE_CONTEXT_BYTES:
            stdin = await asyncio.to_thread(self._stdin, definition, context)
        else:
            stdin = self._stdin(definition, context)
        masked_by = _mask(definition, inputs.secret_variables) if inputs.secret_variables else ()
        return Command(argv=(*argv, *inputs.args), cwd=cwd, env=env, stdin=stdin, masked_by=masked_by)

    async def _inputs(self, definition: Definition, context: StepContext) -> Inputs:
        threads = self._secret_threads if has_secrets(definition) else None
        loop = asyncio.get_running_loop()
        inputs = await loop.run_in_executor(threads, find_inputs, definition, context, self._secrets)
        for number, value in enumerate(inputs.args, start=1):
            if len(value.encode("utf-8", "surrogateescape")) > _MAX_ARGUMENT_BYTES:
                what = f"has more than {_MAX_ARGUMENT_BYTES} bytes, which Linux refuses"
                raise SpawnError(
                    f"{definition.label}: argument {number} {what}; it is in the context, on standard input"
                )
        return inputs

    def _refuse_code_mode(self, definition: Definition) -> str:
        gate = self._environ.get("CODEX_FLOWS_ENABLE_CODE_MODE", "").strip().lower()
        mode = self._environ.get("CODEX_FLOWS_MODE", "").strip().lower()
        what = f'{definition.label}: runner "code-mode"'
        if gate not in ("1", "true", "yes", "on") and mode != "code-mode":
            return f"{what} requires CODEX_FLOWS_ENABLE_CODE_MODE=1 in flowd's environment"
        return f"{definition.label}: {CODE_MODE_PROBLEM}"

    def _is_known(self, definition: Definition, script: str) -> bool:
        """Whether `_argv` needs neither a process nor a file's content."""
        if definition.runner not in ("bun", "node", "python"):
            return True
        if definition.runner == "node" and script.endswith(_TYPESCRIPT):
            return False
        return self._interpreters.cached(definition.runner) is not None and self._style_cached(script) is not None

    def _style_cached(self, script: str) -> Style | None:
        try:
            return self._styles.cached(script)
        except OSError:
            return None

    def _argv(self, definition: Definition, script: str) -> tuple[str, ...]:
        runner = definition.runner
        if runner == "exec":
            self._check_once(definition, script)
            return (script,)
        if runner not in ("bun", "node", "python"):
            raise SpawnError(
                f'{definition.label}: this flowd does not know the runner "{runner}"; use bun, node, python or exec'
            )
        try:
            style = self._styles.of(script, is_python=runner == "python")
            if runner == "python":
                return self._python(script, style)
            prefix = self._node(script) if runner == "node" else (self._interpreters.find("bun"),)
        except OSError as error:
            raise SpawnError(f"{definition.label}: the script {script} cannot be read ({error.strerror})") from error
        except SpawnError as error:
            raise SpawnError(f"{definition.label}: {error}") from error
        if style.is_module:
            return (*prefix, str(BOOTSTRAPS / "module.mjs"), script)
        if style.uses_helpers:
            option = "--preload" if runner == "bun" else "--import"
            return (prefix[0], option, str(BOOTSTRAPS / "preload.mjs"), *prefix[1:], script)
        return (*prefix, script)

    def _check_once(self, definition: Definition, script: str) -> None:
        """Check an executable when it is new or has changed: reading its first line costs a tenth of a short run."""
        status = os.stat(script)
        stamp = (status.st_ino, status.st_mtime_ns, status.st_ctime_ns, definition.env.get("PATH"))
        if self._checked.get(script) != stamp:
            check_executable(definition.label, script, {**self._environ, **definition.env})
            if len(self._checked) >= _MAX_CHECKED:
                self._checked.clear()
            self._checked[script] = stamp

    def _python(self, script: str, style: Style) -> tuple[str, ...]:
        bootstrap = (str(BOOTSTRAPS / "module.py"),) if style.is_module else ()
        metadata = style.metadata
        uv = self._interpreters.which("uv") if metadata else None
        if metadata is None or (uv is None and not metadata.dependencies):
            return (self._interpreters.find("python"), *bootstrap, script)
        if uv is None:
            raise SpawnError(
                f"the script {script} asks for {', '.join(metadata.dependencies)} (PEP 723), which uv provides, and uv"
                " is not on flowd's PATH. Install uv (https://docs.astral.sh/uv), or take the block out and use the"
                " setting `[runners] python` for a virtual environment that has them"
            )
        if not bootstrap:
            return (uv, "run", "--script", script)
        # `uv run --script` starts the named script itself, so the bootstrap takes the script's requirements over.
        python = ("--python", metadata.requires_python) if metadata.requires_python else ()
        return (uv, "run", "--no-project", *python, "--with-requirements", script, "--", "python", *bootstrap, script)

    def _node(self, script: str) -> tuple[str, ...]:
        node = self._interpreters.find("node")
        if not script.endswith(_TYPESCRIPT):
            return (node,)
        version = self._interpreters.node_version(node)
        # Type stripping: behind a flag from 22.6, without one from 22.18 and 23.6 (nodejs.org/api/typescript.html).
        if version >= (23, 6) or (22, 18) <= version < (23, 0):
            return (node,)
        if version >= (22, 6):
            return (node, "--experimental-strip-types")
        tsx = _nearest_tsx(script) or self._interpreters.which("tsx")
        if tsx is None:
            raise SpawnError(
                f"the script {script} is TypeScript, which {node} (version {version[0]}.{version[1]}) cannot run. Use"
                ' Node 22.18 or newer, install tsx (`npm install tsx`) in the package or on PATH, or set runner = "bun"'
            )
        program = os.path.realpath(tsx)
        # With the Node that was chosen, not with the one that tsx's own #! line finds.
        return (node, program) if program.endswith((".mjs", ".cjs", ".js")) else (tsx,)

    def _stdin(self, definition: Definition, context: StepContext) -> bytes:
        return document(
            definition,
            context,
            launched_by=self._launched_by,
            socket_path=self._socket_path,
            backend_url=self._environ.get(_BACKEND_URL),
        )

    def _env(self, definition: Definition, context: StepContext, inputs: Inputs) -> dict[str, str]:
        env = {**definition.env, **inputs.env}
        for name, value in env.items():
            _check_variable(definition, name, value)
        env |= {
            "CODEX_FLOW_EVENT_ID": context.event_id,
            "CODEX_FLOW_RUN_ID": context.run_id,
            "CODEX_FLOW_ATTEMPT_ID": context.attempt_id,
            "CODEX_FLOW_REPLAY": "1" if context.is_replay else "0",
            "CODEX_FLOW_LAUNCHED_BY": self._launched_by,
            "FLOWD_RUN_ID": context.run_id,
            "FLOWD_ATTEMPT": str(context.attempt_number),
            "FLOWD_FENCE": str(context.fence),
        }
        if context.traceparent or "TRACEPARENT" in self._environ:  # which is flowd's own, and not the step's
            env["TRACEPARENT"] = context.traceparent or ""
        if context.round_dir:
            env["FLOWD_ROUND_DIR"] = context.round_dir
        env[STEP_WORKSPACE] = str(self._workspace)
        if self._socket_path:
            env["FLOWD_SOCKET"] = self._socket_path
            if self._is_rehearsal:
                env[REHEARSAL] = self._socket_path
        if needs := _short_needs(context):
            env["FLOWD_NEEDS"] = needs.decode()
        if backend_url := self._environ.get(_BACKEND_URL):
            env[_BACKEND_URL] = backend_url
        if definition.runner == "python" and "PYTHONUNBUFFERED" not in self._environ:
            # Otherwise whoever follows the output sees nothing until 8 KiB have come together.
            env.setdefault("PYTHONUNBUFFERED", "1")
        if self._reach is not None:
            env |= self._reach.env(env, is_python=definition.runner == "python")
        return env


def _mask(definition: Definition, variables: tuple[str, ...]) -> tuple[str, ...]:
    """What starts a step's command line so that the values of these variables are masked in what it prints."""
    script, root = BOOTSTRAPS / "mask.py", BOOTSTRAPS.parents[2]
    how = str(definition.grace_ms / 1000), str(int(definition.detach)), "=".join(variables)
    return (sys.executable, "-I", "-S", str(script), str(root), *how)


def _size_bytes(context: StepContext) -> int:
    return len(context.event_json) + sum(len(end.result or "") for end in context.needs)


def _short_needs(context: StepContext) -> bytes:
    """How the needs ended as JSON; empty where there are none, or it is too long for a variable."""
    # Results may have many megabytes together, and this holds up all others.
    if not context.needs or sum(len(end.result or "") for end in context.needs) >= _MAX_NEEDS_BYTES:
        return b""
    needs = to_json(needs_of(context))
    return needs if len(needs) < _MAX_NEEDS_BYTES else b""


def _check_variable(definition: Definition, name: str, value: str) -> None:
    if not name or "=" in name or "\0" in name:
        problem = "is not a name for an environment variable"
    elif "\0" in value:
        problem = "has a value with a NUL character, which no environment can hold"
    elif len(f"{name}={value}".encode("utf-8", "surrogateescape")) > _MAX_VARIABLE_BYTES:
        problem = f"has a value of more than {_MAX_VARIABLE_BYTES} bytes, which Linux refuses; put it into a file"
    else:
        return
    raise SpawnError(f"{definition.label}: {name[:100]!r} in [steps.env] {problem}")


def _nearest_tsx(script: str) -> str | None:
    for folder in Path(os.path.realpath(script)).parents:
        candidate = folder / "node_modules" / ".bin" / "tsx"
        if os.access(candidate, os.X_OK):
            return str(candidate)
    return None
