"""Posts a notice to an address on the web, signed as Standard Webhooks has it."""

import asyncio
import json
import re
import socket
import ssl
from asyncio import IncompleteReadError, LimitOverrunError, StreamReader, StreamWriter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import flowd
from flowd.domain.notices import Sent
from flowd.notifiers import signing
from flowd.notifiers.addresses import WebhookAddress, read_address
from flowd.notifiers.config import NotifierConfig
from flowd.notifiers.dialing import ProxyError, dial, proxy_for
from flowd_client import small_file

_MAX_FILE_BYTES = 64 * 1024
_MAX_SHOWN = 200
_BODY_S = 1.0
"""How long the words of a refusal are waited for."""

_STATUS = re.compile(rb"HTTP/1\.[01] (\d{3})")
_HEADER = re.compile(rb"\r\n([A-Za-z-]+):[ \t]*([^\r\n]*)")


class _UnusableError(Exception):
    """What the settings name cannot be used just now."""


@dataclass(frozen=True, slots=True)
class _Response:
    """The head of a response, and the beginning of its body."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    text: str = ""


class WebhookSender:
    """A `flowd.ports.notices.NoticeSender`. Redirects are not followed: what is told to one is not for another."""

    def __init__(self, config: NotifierConfig, environ: Mapping[str, str]) -> None:
        """URL and secrets are read from their files at each try, so that new ones count from then on.

        Args:
            environ: What says by which proxy others are reached (``https_proxy``, ``no_proxy``).
        """
        self._config = config
        self._environ = environ
        self._tls: ssl.SSLContext | None = None

    @property
    def target(self) -> str:
        """See `flowd.ports.notices.NoticeSender.target`."""
        if self._config.webhook is not None:
            return read_address(self._config.webhook, allow_http=True).shown
        return f"the address in {self._config.webhook_file}"

    async def send(self, notice_id: str, payload: Mapping[str, Any], *, at_s: int) -> Sent:
        """See `flowd.ports.notices.NoticeSender.send`."""
        body = json.dumps(payload, ensure_ascii=False).encode()
        try:
            address = _address(self._config)
            signed = signing.headers(notice_id, at_s, body, _secrets(self._config))
        except _UnusableError as error:
            return Sent(str(error))
        try:
            async with asyncio.timeout(self._config.timeout_s):
                response = await self._posted(address, signed, body)
        except TimeoutError:
            return Sent(f"no answer within {self._config.timeout_s:g} s")
        except (OSError, ProxyError, EOFError, LimitOverrunError, ValueError) as error:
            return Sent(_why(error, address))
        return _came(response)

    async def _posted(self, address: WebhookAddress, signed: Mapping[str, str], body: bytes) -> _Response:
        if address.is_tls and self._tls is None:
            # Reads the certificates of the system: 20 ms.
            self._tls = await asyncio.to_thread(ssl.create_default_context)
        tls = self._tls if address.is_tls else None
        reader, writer = await dial(address, tls, proxy_for(address, self._environ))
        try:
            writer.write(_request(address, signed, body))
            await writer.drain()
            return await _response(reader)
        finally:
            _hang_up(writer)


def problem_of_files(config: NotifierConfig) -> str | None:
    """Why what a webhook needs cannot be used just now; None where it can. Sends nothing."""
    try:
        _address(config)
        _secrets(config)
    except _UnusableError as error:
        return str(error)
    return None


def _address(config: NotifierConfig) -> WebhookAddress:
    where, url = "webhook", config.webhook
    if config.webhook_file is not None:
        where = config.webhook_file
        url = _lines(where)[0]
    assert url is not None
    try:
        return read_address(url, allow_http=config.allow_http)
    except ValueError as error:
        raise _UnusableError(f"{where} {error}") from None


def _secrets(config: NotifierConfig) -> Sequence[bytes]:
    if config.secret_file is None:
        return ()
    try:
        return [signing.read_secret(line) for line in _lines(config.secret_file)]
    except ValueError as error:
        raise _UnusableError(f"{config.secret_file}: {error}") from None


def _request(address: WebhookAddress, signed: Mapping[str, str], body: bytes) -> bytes:
    headers = {
        "Host": address.authority,
        "User-Agent": f"flowd/{flowd.__version__}",
        "Content-Type": "application/json",
        "Content-Length": str(len(body)),
        "Connection": "close",
        **signed,
    }
    lines = [f"POST {address.target} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode() + body


async def _response(reader: StreamReader) -> _Response:
    """The head that decides, and of a refusal what it says, if that comes soon."""
    status, head = 0, b""
    while status < 200:  # what comes before it is no answer yet
        head = await reader.readuntil(b"\r\n\r\n")
        found = _STATUS.match(head)
        if found is None:
            raise ValueError("the answer is no HTTP")
        status = int(found[1])
    headers = {name.decode().lower(): value.decode("latin-1").strip() for name, value in _HEADER.findall(head)}
    text = b""
    if status >= 300 and headers.get("content-length", "0") != "0":
        with suppress(TimeoutError, OSError):
            async with asyncio.timeout(_BODY_S):
                text = await reader.read(_MAX_SHOWN)
    return _Response(status, headers, " ".join(text.decode("utf-8", "replace").split()))


def _came(response: _Response) -> Sent:
    status, said = response.status, f": {response.text}" if response.text else ""
    if 200 <= status < 300:
        return Sent(answer=f"HTTP {status}")
    if 300 <= status < 400:
        return Sent(f"it redirects (HTTP {status}), which is not followed: name the address that it leads to")
    if status == 410:
        return Sent(f"the address is gone for good (HTTP 410){said}", is_final=True)
    after = response.headers.get("retry-after", "")
    after_ms = int(after) * 1000 if after.isascii() and after.isdigit() and len(after) < 8 else None
    return Sent(f"it refuses (HTTP {status}){said}", retry_after_ms=after_ms)


def _why(error: Exception, address: WebhookAddress) -> str:
    match error:
        case socket.gaierror():
            return f"the name {address.host} is not known: {error.strerror or error}"
        case ssl.SSLCertVerificationError():
            return f"the certificate of {address.host} is not trusted: {error.verify_message}"
        case ssl.SSLError():
            return f"TLS with {address.host} failed: {error.reason or error}"
        case IncompleteReadError() | EOFError():
            return "the connection was closed before an answer came"
        case LimitOverrunError():
            return "the head of the answer is too long"
        case OSError():
            return f"{address.authority} cannot be reached: {error.strerror or error}"
        case _:
            return str(error)


def _lines(path: str) -> list[str]:
    """The lines of a file that holds secrets; the message of a refusal holds nothing of them."""
    try:
        text = small_file.read(path, _MAX_FILE_BYTES).decode()
    except OSError as error:
        raise _UnusableError(f"cannot read {path}: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise _UnusableError(f"{path} is not UTF-8") from None
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if not lines:
        raise _UnusableError(f"{path} is empty")
    return lines


def _hang_up(writer: StreamWriter) -> None:
    """Without waiting for the other side: it has answered, or has had its time."""
    writer.transport.abort()
