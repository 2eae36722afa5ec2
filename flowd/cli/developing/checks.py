"""What `flowd validate` finds in the packages that are being worked on."""

from pathlib import Path

from flowd.checking import packages
from flowd.cli.developing.voice import Voice
from flowd.cli.exits import CommandError
from flowd.cli.validate import _check


class Checks:
    """Tells what is found in a package, where it is not what was found before."""

    def __init__(self, voice: Voice) -> None:
        self._voice = voice
        self._known: dict[str, object] = {}

    def tell(self, root: str) -> None:
        """Print what there is to say of the package in this folder, as `flowd validate` does; nothing where that is as
        it was, or there is nothing."""
        try:
            found = packages.findings(_check(Path(root)))
        except CommandError as error:  # the folder is gone
            if self._known.get(root) != error.message:
                self._voice.say(error.message)
            self._known[root] = error.message
            return
        if self._known.get(root, ()) != found:
            self._voice.tell_findings(found)
        self._known[root] = found
