"""Encodes and decodes JSON, and instants as the wire has them. The shapes are in `flowd.api.shapes`."""

import codecs
import gc
import re
from typing import Any

import msgspec

from flowd.domain.instants import instant

__all__ = ["canonical", "decode", "encode", "instant"]

_encoder = msgspec.json.Encoder()
_sorting_encoder = msgspec.json.Encoder(order="sorted")


def encode(value: object) -> bytes:
    """JSON, with the keys in their order. Raises `RecursionError` when it is nested too deeply."""
    return _encoder.encode(value)


def canonical(value: object) -> bytes:
    """JSON with sorted keys: the same bytes for the same content."""
    return _sorting_encoder.encode(value)


def decode(data: bytes) -> Any:
    r"""JSON to plain objects; a byte order mark before it is skipped.

    Half a surrogate pair, which JavaScript's strings may contain and UTF-8 cannot, becomes U+FFFD.

    Raises `ValueError` for what is not JSON, `RecursionError` for too deep a nesting.

    >>> decode(rb'["\\ud83d\ud83d", "\ud83d\ude00\ud83d"]') == ["\\ud83d\ufffd", "\U0001f600\ufffd"]
    True
    """
    data = data.removeprefix(codecs.BOM_UTF8)
    try:
        return _decode(data)
    except msgspec.MsgspecError as error:
        whole = _whole(data)
        if whole == data:
            raise ValueError(str(error)) from None
    try:
        return _decode(whole)
    except msgspec.MsgspecError as error:
        raise ValueError(str(error)) from None


def _whole(data: bytes) -> bytes:
    """JSON with U+FFFD for half a surrogate pair."""
    if b"\0" in data:
        return data  # which is no JSON anyway
    # Escaped backslashes stand aside meanwhile, so that every other one begins an escape.
    return _LONE.sub(rb"\\ufffd", data.replace(rb"\\", b"\0")).replace(b"\0", rb"\\")


def _decode(data: bytes) -> Any:
    """Without looking for garbage: a million new objects make Python look many times, and there is none."""
    if len(data) < _LARGE_BYTES or not gc.isenabled():
        return msgspec.json.decode(data)
    gc.disable()
    try:
        return msgspec.json.decode(data)
    finally:
        gc.enable()


_LARGE_BYTES = 64 * 1024
_HIGH, _LOW = rb"\\u[dD][89abAB][0-9a-fA-F]{2}", rb"\\u[dD][c-fC-F][0-9a-fA-F]{2}"
_LONE = re.compile(rb"%b(?!%b)|(?<!%b)%b" % (_HIGH, _LOW, _HIGH, _LOW))
"""Half a surrogate pair, where every backslash begins an escape."""
