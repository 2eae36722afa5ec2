"""The stylesheet, the script and what else pages are made with: served under names that change with their content."""

import gzip
import hashlib
from pathlib import Path
from typing import NamedTuple

from flowd.api.http.call import Call
from flowd.api.http.responses import HttpError, Response

_FOLDER = Path(__file__).parent / "static"

_TYPES = {".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}

_FOR_EVER = "public, max-age=31536000, immutable"


class _Asset(NamedTuple):
    name: str
    body: bytes
    packed: bytes
    media_type: str


class Assets:
    """All of them, in memory."""

    def __init__(self) -> None:
        found = [_read(path) for path in sorted(_FOLDER.iterdir()) if path.suffix in _TYPES]
        self._by_name = {asset.name: asset for _, asset in found}
        self._names = {plain: asset.name for plain, asset in found}
        self.version = hashlib.sha256("".join(self._by_name).encode()).hexdigest()[:12]
        """Changes when any of them does."""

    def name(self, plain: str) -> str:
        """The name that ``app.js`` is served under."""
        return self._names[plain]

    async def respond(self, call: Call) -> Response:
        """The asset that a request names.

        Raises:
            HttpError: ``not_found``.
        """
        asset = self._by_name.get(call.values["asset"])
        if asset is None:
            raise HttpError("not_found", "not found")
        headers = {"cache-control": _FOR_EVER, "vary": "accept-encoding"}
        if not takes_gzip(call):
            return Response(asset.body, asset.media_type, 200, headers)
        return Response(asset.packed, asset.media_type, 200, {**headers, "content-encoding": "gzip"})


def takes_gzip(call: Call) -> bool:
    """Whether the browser unpacks what is packed."""
    return "gzip" in (call.header(b"accept-encoding") or "")


def _read(path: Path) -> tuple[str, _Asset]:
    body = path.read_bytes()
    name = f"{path.stem}-{hashlib.sha256(body).hexdigest()[:12]}{path.suffix}"
    return path.name, _Asset(name, body, gzip.compress(body, 9, mtime=0), _TYPES[path.suffix])
