"""Reads the secrets of steps, each time one starts, so that a new value counts from then on."""

import os
import select
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from flowd.domain.redaction import MIN_LENGTH
from flowd.domain.secrets import SecretSource, unknown
from flowd_client import small_file

COMMAND_S: Final = 10.0
"""How long a command may take that prints a secret."""

MAX_BYTES: Final = 64 * 1024


class SecretError(Exception):
    """A secret cannot be read. The message names it and the remedy, and holds nothing of it."""


class StepSecrets:
    """The secrets that the settings name."""

    def __init__(self, sources: Mapping[str, SecretSource], environ: Mapping[str, str]) -> None:
        """``environ`` is flowd's own environment, with what steps do not inherit."""
        self._sources = sources
        self._environ = environ

    def read(self, name: str) -> str:
        """The value of a secret, without the line feeds at its end. May take long: it starts a process, perhaps.

        Raises:
            SecretError: There is none of this name, or it cannot be read, is no text, or is too short to be masked.
        """
        source = self._sources.get(name)
        if source is None:
            raise SecretError(unknown(name, self._sources))
        try:
            data = self._data(source)
        except OSError as error:
            told = f"{error.strerror}: {error.filename}" if error.filename else error.strerror or str(error)
            raise SecretError(
                f"the secret {name} cannot be read: {told}; see [secrets.{name}] of the settings"
            ) from None
        except subprocess.TimeoutExpired:
            raise SecretError(f"the command of the secret {name} took longer than {COMMAND_S:g} s") from None
        except subprocess.CalledProcessError as error:
            raise SecretError(f"the command of the secret {name} exited with {error.returncode}") from None
        if len(data) > MAX_BYTES:
            raise SecretError(f"the secret {name} has more than {MAX_BYTES} bytes")
        try:
            text = data.decode().rstrip("\r\n")
        except UnicodeDecodeError:
            raise SecretError(f"the secret {name} is not UTF-8") from None
        if not text or "\0" in text:
            raise SecretError(f"the secret {name} is empty" if not text else f"the secret {name} has a NUL character")
        if len(text.strip()) < MIN_LENGTH:
            raise SecretError(
                f"the secret {name} has fewer than {MIN_LENGTH} characters, too few to be masked; choose a longer one"
            )
        return text

    def _data(self, source: SecretSource) -> bytes:
        if source.file is not None:
            return _content(source.file)
        if source.credential is not None:
            folder = self._environ.get("CREDENTIALS_DIRECTORY")
            if not folder:
                raise OSError(f"systemd gave flowd no credentials (LoadCredential={source.credential}:/path)")
            return _content(str(Path(folder) / source.credential))
        if source.env is not None:
            if source.env not in self._environ:
                raise OSError(f"flowd's environment has no {source.env}")
            return os.fsencode(self._environ[source.env])
        assert source.command is not None
        return _printed_by(source.command, dict(self._environ))


def _printed_by(command: Sequence[str], environ: Mapping[str, str]) -> bytes:
    """What a command prints; of more than `MAX_BYTES` so much that it shows."""
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environ
    ) as process:
        assert process.stdout is not None
        deadline_s = time.monotonic() + COMMAND_S
        poll = select.poll()
        poll.register(process.stdout, select.POLLIN)
        data = b""
        try:
            while len(data) <= MAX_BYTES:
                left_s = deadline_s - time.monotonic()
                if left_s <= 0 or not poll.poll(left_s * 1000):
                    raise subprocess.TimeoutExpired(command, COMMAND_S)
                part = os.read(process.stdout.fileno(), MAX_BYTES)
                if not part:
                    break
                data += part
            else:
                return data
            if process.wait(max(0.0, deadline_s - time.monotonic())):
                raise subprocess.CalledProcessError(process.returncode, command)
        finally:
            process.kill()  # without effect once it has ended
    return data


def _content(path: str) -> bytes:
    return small_file.read(path, MAX_BYTES)
