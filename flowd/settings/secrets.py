"""Reads secrets: from files, environment variables and systemd credentials.

Never from the command line, which anybody on the machine can read. Every refusal is a `ValueError` whose message names
the place.
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path

from flowd.api.http.config import SCOPES, Token

_MAX_BYTES = 1 << 20


class SecretsReader:
    """Reads secrets, and remembers the environment variables and the files that held some."""

    def __init__(self, environ: Mapping[str, str], root: Path) -> None:
        """``root`` is where relative paths start."""
        self._environ = environ
        self._root = root
        self.variables: list[str] = []
        self.files: list[str] = []

    def shim_secrets(self) -> list[bytes]:
        """The HTTP shim's secrets from the environment and from systemd."""
        found: list[bytes] = []
        if path := self._environ.get("FLOWD_HTTP_SECRET_FILE"):
            found += self._file(path, "$FLOWD_HTTP_SECRET_FILE")
        for variable in ("FLOWD_HTTP_SECRET", "CODEX_FLOW_BACKEND_SECRET"):
            if value := self._environ.get(variable):
                found.append(value.encode())
        return found + self._credential("flowd-http-secret")

    def shim_tokens(self) -> list[Token]:
        """The HTTP shim's tokens from the environment and from systemd; they may do everything."""
        texts = [self._environ["FLOWD_HTTP_TOKEN"].encode()] if self._environ.get("FLOWD_HTTP_TOKEN") else []
        texts += self._credential("flowd-http-token")
        return [Token("default", hashlib.sha256(text).digest(), frozenset(SCOPES)) for text in texts]

    def store(self) -> list[bytes]:
        """The address of the store from systemd."""
        return self._credential("flowd-store")

    def named(
        self, file: str | None, env: str | None, where: str, *, names: tuple[str, str] = ("secret_file", "secret_env")
    ) -> list[bytes]:
        """The secrets that a table names: one a line of its file, and its variable's value.

        Args:
            names: What the table calls the two.

        Raises:
            ValueError: It names none, or none can be read.
        """
        found: list[bytes] = []
        if file is not None:
            found += self._file(file, f"{where} {names[0]}")
        if env is not None:
            self.variables.append(env)
            if not self._environ.get(env):
                raise ValueError(f"{where} {names[1]}: the environment has no {env}.")
            found.append(self._environ[env].encode())
        if not found:
            raise ValueError(f"{where} needs {names[0]} (a path) or {names[1]} (a variable's name).")
        return found

    def _credential(self, name: str) -> list[bytes]:
        folder = self._environ.get("CREDENTIALS_DIRECTORY")
        if not folder:
            return []
        path = Path(folder) / name
        try:
            is_passed = path.exists()
        except OSError:
            is_passed = True  # it cannot be read, and who was given a secret must not go on without
        return self._file(str(path), f"credential {name}") if is_passed else []

    def _file(self, name: str, where: str) -> list[bytes]:
        path = self._root / Path(name).expanduser()
        self.files.append(str(path))
        try:
            with path.open("rb") as file:  # which may be a pipe
                content = file.read(_MAX_BYTES + 1)
        except OSError as error:
            raise ValueError(f"{where}: cannot read {path}: {error.strerror}.") from None
        if len(content) > _MAX_BYTES:
            raise ValueError(f"{where}: {path} is larger than {_MAX_BYTES} bytes; it holds one secret a line.")
        found = [line for line in map(bytes.strip, content.splitlines()) if line]
        if not found:
            raise ValueError(f"{where}: {path} is empty; it holds one secret a line.")
        return found
