"""What a refusal of the keeper means, in a sentence with the remedy."""

from collections.abc import Mapping
from typing import Any

_SENTENCES = {
    "cwd": "The working directory {path} cannot be used: {error}. Create it, or correct `cwd` of the step.",
    "program": "The program {path} cannot be run: {error}. Install it, or make it executable (chmod +x).",
    "interpreter": "The interpreter in the script's first line is missing ({path}). Install it, or correct the line.",
    "stdin": "The step's standard input could not be prepared in {path}: {error}.",
    "stdout": "The file for the step's standard output {path} could not be created: {error}.",
    "stderr": "The file for the step's standard error {path} could not be created: {error}.",
    "resource": "The system has no room for another process ({path}): {error}.",
    "journal": "The start could not be written to the keeper's journal ({path}): {error}. Make room on the disk.",
    "ending": "The keeper is ending all steps and starts no more.",
}


def sentence(facts: Mapping[str, Any]) -> str:
    """The sentence for a ``refused`` frame.

    >>> sentence({"what": "cwd", "path": "/x", "error": "No such file or directory"})
    'The working directory /x cannot be used: No such file or directory. Create it, or correct `cwd` of the step.'
    """
    text = _SENTENCES.get(str(facts.get("what")), "The step could not be started: {path} {error}.")
    return text.format(path=facts.get("path", ""), error=facts.get("error", ""))
