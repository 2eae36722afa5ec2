"""Leads from the command lines of the TypeScript system to flowd's. Only looked at after a mistake."""

from collections.abc import Sequence

_SERVE_OPTIONS = {
    "--app-server-url": "flowd needs no app server",
    "--bun": 'the setting `[runners] bun = "/path"` names it',
    "--cwd": "`-w FOLDER` names the workspace",
    "--data-dir": "FLOWD_STATE_DIR names it",
    "--flow-runner": "flowd runs steps by itself",
    "--host": "`--http HOST:PORT` does that",
    "--local-app-server": "flowd needs no app server",
    "--port": "`--http HOST:PORT` does that",
    "--secret": "FLOWD_HTTP_SECRET has it",
}


def lead(args: Sequence[str]) -> str:
    """A sentence for a command line that would work there, with a blank before it; empty for any other.

    >>> lead(["list"])
    ' Here that is `flowd flows`.'
    >>> lead(["serve", "--port", "3586"])
    ' In flowd, `--http HOST:PORT` does that.'
    >>> lead(["run", "demo", "hello", "--event", "e.json"])
    ' To run a step of a flow: `flowd exec FLOW STEP EVENT.json`.'
    """
    verb, *rest = args or [""]
    if verb == "list":
        return " Here that is `flowd flows`."
    if verb == "run" and len([word for word in rest if not word.startswith("-")]) > 1:
        return " To run a step of a flow: `flowd exec FLOW STEP EVENT.json`."
    if verb == "serve":
        told = [_SERVE_OPTIONS[word.partition("=")[0]] for word in rest if word.partition("=")[0] in _SERVE_OPTIONS]
        return f" In flowd, {told[0]}." if told else ""
    return ""
