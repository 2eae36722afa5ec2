"""What carries a client's calls; and JSON-RPC frames as pure functions of bytes."""

from flowd_client._async.transport import AsyncTransport
from flowd_client._core.jsonrpc import MAX_FRAME_BYTES, answers, decode, encode, read_result
from flowd_client._sync.transport import Transport

__all__ = ["MAX_FRAME_BYTES", "AsyncTransport", "Transport", "answers", "decode", "encode", "read_result"]
