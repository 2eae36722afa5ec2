"""Says what a refusal of the keeper means, with the remedy."""

import errno
from collections.abc import Mapping
from typing import Any

_SENTENCES = {
    "cwd": "The working directory {path} cannot be used: {error}. Create it, or correct `cwd` of the step.",
    "program": "The program {path} cannot be run: {error}. Install it, or make it executable (chmod +x).",
    "busy": "The program {path} has been open for writing for a second ({error}). "
    "Close it where it is written, then retry the run.",
    "interpreter": "The interpreter in the script's first line is missing ({path}). Install it, or correct the line.",
    "stdin": "The step's standard input could not be prepared in {path}: {error}. flowd has to be able to write there.",
    "stdout": "The file for the step's standard output {path} could not be created: {error}. "
    "flowd has to be able to write there.",
    "stderr": "The file for the step's standard error {path} could not be created: {error}. "
    "flowd has to be able to write there.",
    "resource": "The system cannot start another process ({path}): {error}. "
    "Run fewer processes at once, raise the user's limit (ulimit -u, LimitNPROC=, TasksMax=), or give this one fewer "
    "arguments and variables.",
    "journal": "The start could not be written to the keeper's journal ({path}): {error}. Make room on the disk.",
    "unknown": "The running keeper is of another version of flowd and cannot keep {path}. It is replaced as soon as "
    "the steps that it runs have ended: retry this run then.",
    "lease": "The lease of this attempt was over before it could start: its host was too slow, or could not reach the "
    "store. Another host may have taken its run by then.",
    "ending": "The keeper is ending all steps and starts no more. Start flowd again.",
}

_UNKEPT = {
    "cpu_percent": "there is no cgroup with a cpu controller to keep it with",
    "processes": "this system does not enforce it for this user (never for root)",
    "memory_bytes": "this system does not enforce it",
}
_CGROUP_REMEDY = (
    "As a service, flowd can have a cgroup for it with systemd 254 or newer (DelegateSubgroup= in its unit, by `flowd "
    'service install`), or with executor = "systemd"; else name one in the setting cgroup, or remove the limit.'
)
_HIGHER_REMEDY = "Ask for less, or raise the hard limit that flowd runs under (Limit…= in its unit, ulimit -H)."
_REMEDIES = {
    "niceness": "Only root may ask for less than flowd's own; use a higher number.",
    "memory_bytes": "Ask for more, or remove the limit.",
    "cgroup": 'See keeper.log, or run steps without cgroups (cgroup = "off").',
}


def refusal_message(facts: Mapping[str, Any]) -> str:
    """The sentence for a ``refused`` frame.

    >>> refusal_message({"what": "cwd", "path": "/x", "error": "No such file or directory"})
    'The working directory /x cannot be used: No such file or directory. Create it, or correct `cwd` of the step.'
    """
    if facts.get("what") == "limit":
        return _limit_message(str(facts.get("path")), facts.get("error"))
    what = "busy" if facts.get("errno") == errno.ETXTBSY else str(facts.get("what"))
    text = _SENTENCES.get(what, "The step could not be started: {path} {error}.")
    return text.format(path=facts.get("path", ""), error=facts.get("error", ""))


def _limit_message(name: str, error: str | None) -> str:
    """The sentence for a limit.

    >>> _limit_message("memory_bytes", "Cannot allocate memory")
    'The limit memory_bytes cannot be kept: Cannot allocate memory. Ask for more, or remove the limit.'
    """
    if error is None:
        return f"The limit {name} cannot be kept: {_UNKEPT.get(name, 'this system has none')}. {_CGROUP_REMEDY}"
    return f"The limit {name} cannot be kept: {error}. {_REMEDIES.get(name, _HIGHER_REMEDY)}"
