"""Says in words, or in HTML of a few of them, what views say in numbers and members."""

import json
import re
from collections.abc import Mapping
from typing import Any

from markupsafe import Markup

_MAX_PLACE = 100
_MAX_INDENTED = 64 * 1024
SHOWN = 20_000
"""Characters of JSON on a page that did not ask for all of it."""


def when(instant: str | None) -> str | Markup:
    """An instant, in UTC; the script says it in the reader's own time.

    >>> str(when("2026-11-28T16:35:27.123Z"))
    '<time datetime="2026-11-28T16:35:27.123Z">2026-11-28 16:35:27</time>'
    """
    if not instant:
        return ""
    shown = instant[:19].replace("T", " ")
    return Markup('<time datetime="{}">{}</time>').format(instant, shown)


def took(duration_ms: object) -> str:
    """How long something took; empty where that is not known.

    >>> took(12), took(1500), took(75_000), took(3_700_000), took(200_000_000)
    ('12 ms', '1.5 s', '1 min 15 s', '1 h 1 min', '2 d 7 h')
    >>> took(300_000), took(7_200_000)
    ('5 min', '2 h')
    """
    if not isinstance(duration_ms, int):
        return ""
    if duration_ms < 1000:
        return f"{duration_ms} ms"
    seconds = duration_ms / 1000
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, hours, days = int(seconds // 60), int(seconds // 3600), int(seconds // 86_400)
    if minutes < 60:
        return f"{minutes} min {int(seconds % 60)} s".removesuffix(" 0 s")
    return (
        (f"{hours} h {minutes % 60} min" if days < 1 else f"{days} d {hours % 24} h")
        .replace(" 0 min", "")
        .replace(" 0 h", "")
    )


def waits(said: Mapping[str, Any] | None) -> str:
    """What a queued run waits for, from a view's ``waitingFor``.

    >>> waits({"needs": ["build"]}), waits({"place": 3}), waits({"pause": "*"}), waits(None)
    ('build to end', 'a place, number 3 in line', 'the pause of all flows to end', 'a place')
    """
    match dict(said or {}):
        case {"needs": names}:
            return f"{', '.join(map(str, names))} to end"
        case {"person": run_id}:
            return f"a person: {run_id} asks"
        case {"pause": what}:
            return f"the pause of {'all flows' if what == '*' else what} to end"
        case {"place": place}:
            return f"a place, number {place} in line" if place <= _MAX_PLACE else "a place, behind 100 others"
        case {"why": "foreign"}:
            return "a person: its state was copied from elsewhere"
        case {"until": _, "why": why}:
            return {"retry": "its retry", "debounce": "quiet"}.get(str(why), "its time")
        case {"package": name}:
            return f"its step, which {name} does not have"
        case {"host": dict(host)}:
            return _host(host)
        case {"key": dict(key)}:
            return _key(key)
        case _:
            return "a place"


def _host(host: Mapping[str, Any]) -> str:
    if name := host.get("name"):
        return f"host {name}, which has the folder of its round"
    labels = " and ".join(host.get("labels", ()))
    return f"a host with {labels}" if labels else "a host that can run its step"


def _key(said: Mapping[str, Any]) -> str:
    values = " ".join(value if isinstance(value, str) else pretty(value) for value in said.get("key", ()))
    asks = f", which asks: {said['asks']}" if said.get("asks") else ""
    return f"{said.get('group')} {values}".strip() + f", which {said.get('holder', 'another run')} holds{asks}"


def why(run: Mapping[str, Any]) -> str:
    """What there is to say of how a run ended: why, or what the step says of an end that is well.

    >>> why({"result": {"message": "done"}}), why({"result": {"message": 1}, "reason": "step_removed"})
    ('done', 'step removed')
    >>> why({"why": "no such host (exit code 3)", "result": {"message": "x"}})
    'no such host (exit code 3)'
    """
    message = (run.get("result") or {}).get("message")
    said = message if isinstance(message, str) else ""
    return str(run.get("why") or said or str(run.get("reason") or "").replace("_", " "))


_CONTROLS = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
"""And what turns the direction of writing, so that one name looks like another."""


def visible(text: str) -> str:
    r"""A text whose control characters are seen: by their signs, or by their escapes where there are none.

    >>> visible("a\x1b[31m\x7f\n"), visible("\x9b\u202egnp.exe")
    ('a␛[31m␡\n', '\\x9b\\u202egnp.exe')
    """
    return _CONTROLS.sub(_sign, text)


def _sign(found: "re.Match[str]") -> str:
    code = ord(found[0])
    if code < 0x20:
        return chr(0x2400 + code)
    return "\u2421" if code == 0x7F else f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def short_hash(text: str | None) -> str:
    """Enough of a hash to tell it from others.

    >>> short_hash("sha256:0123456789abcdef0123")
    '0123456789ab'
    """
    return (text or "").removeprefix("sha256:")[:12]


def size(count: int) -> str:
    """How many bytes.

    >>> size(1), size(2048), size(3_500_000)
    ('1 byte', '2.0 KiB', '3.3 MiB')
    """
    if count < 1024:
        return f"{count} byte{'' if count == 1 else 's'}"
    units = ("KiB", "MiB", "GiB", "TiB")
    power = min(len(units), (count.bit_length() - 1) // 10)
    return f"{count / 1024**power:.1f} {units[power - 1]}"


def pretty(value: object) -> str:
    """JSON to be read: indented where it has members and is not too large, which would take too long."""
    compact = json.dumps(value, ensure_ascii=False)
    if len(compact) > _MAX_INDENTED or not isinstance(value, dict | list):
        return compact
    try:
        return json.dumps(value, ensure_ascii=False, indent=2)
    except RecursionError:
        return compact  # what indents does not reach as deep


def readable(text: bytes, *, is_whole: bool) -> tuple[str, bool]:
    """JSON to be read, or its beginning; and whether that is all of it. What is large is shown as it is stored.

    >>> readable(b'{"a":1}', is_whole=False)
    ('{\\n  "a": 1\\n}', True)
    """
    if len(text) <= _MAX_INDENTED:
        shown = pretty(json.loads(text))
        is_all = is_whole or len(shown) <= SHOWN
        return (shown if is_all else shown[:SHOWN]), is_all
    if is_whole:
        return text.decode("utf-8", "replace"), True
    return text[: 4 * SHOWN].decode("utf-8", "ignore")[:SHOWN], False


def in_short(value: object) -> str:
    """JSON to be read, or the beginning of what is long."""
    text = pretty(value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}… (of {len(text)} characters)"
