"""Whose the other end of a connection is, by lines as Linux writes them."""

import sys

import pytest

from flowd.observe.tcp_users import find

pytestmark = pytest.mark.skipif(sys.byteorder != "little", reason="the lines are of a little-endian machine")

HEAD = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode"
TAIL = "01 00000000:00000000 00:00000000 00000000"
V4 = f"   3: 0100007F:D431 0100007F:1CB1 {TAIL}  1000        0 123 1 0000 20 4 30 10 -1"
V4_SERVER = f"   4: 0100007F:1CB1 0100007F:D431 {TAIL}  1001        0 124 1 0000 20 4 30 10 -1"
V6 = f"   0: 00000000000000000000000001000000:D431 00000000000000000000000001000000:1CB1 {TAIL}  1002        0 1 1"
MAPPED = f"   0: 0000000000000000FFFF00000100007F:D431 0000000000000000FFFF00000100007F:1CB1 {TAIL}  1003        0 1 1"
OURS, THEIRS = ("127.0.0.1", 7345), ("127.0.0.1", 54321)


def test_the_other_end_counts_and_not_ours() -> None:
    assert find([HEAD, V4_SERVER, V4], OURS, THEIRS) == 1000


def test_an_address_may_be_of_either_kind() -> None:
    assert find([HEAD, V6], ("::1", 7345), ("::1", 54321)) == 1002
    assert find([HEAD, MAPPED], OURS, THEIRS) == 1003
    assert find([HEAD, V4], ("::ffff:127.0.0.1", 7345), ("::ffff:127.0.0.1", 54321)) == 1000


def test_what_is_in_no_line_is_nobodys() -> None:
    assert find([HEAD, V4], OURS, ("127.0.0.1", 54322)) is None
    assert find([HEAD, V4], ("127.0.0.1", 7346), THEIRS) is None
    assert find([HEAD, "garbage"], OURS, THEIRS) is None
