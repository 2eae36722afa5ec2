"""Units that `flowd service install` writes: what people have in their paths stays within its setting."""

import os
from pathlib import Path

import pytest

from flowd.api.http import config as http_config
from flowd.api.http.config import Access, HttpConfig, TcpAddress
from flowd.domain.errors import StateError
from flowd.service import unfit, unit_files


def test_nothing_that_a_unit_is_made_of_can_add_a_line_or_end_a_quotation() -> None:
    strange = "\n[Service]\rExecStartPre=+touch pwned"
    wanted = unit_files.Wanted(
        scope="user",
        workspace=Path(f"/home/me/x{strange}"),
        command=f"/opt/it's \\ {strange}/flowd",
        run_as="me",
        search_path=f'/usr/bin:/a"b:/c\\d:/100%{strange}',
        socket=Path(f"/home/me/x{strange}/.codex/flowd/flowd.sock"),
        systemd_version=252,
    )
    made = {path.suffix: text for path, text in unit_files.render(wanted, home=Path("/home/me")).files.items()}
    service = made[".service"]
    assert not [line for text in made.values() for line in text.splitlines() if line.startswith("ExecStartPre")]
    escaped = r"\x0a[Service]\x0dExecStartPre=+touch pwned"
    assert f'ExecStart=:"/opt/it\'s \\\\ {escaped}/flowd" serve' in service
    assert f'Environment="PATH=/usr/bin:/a\\"b:/c\\\\d:/100%%{escaped}"\n' in service


@pytest.mark.parametrize("host", ["fe80::1%eth0", "fe80::1%a\nExecStartPre=+touch pwned\n#"])
def test_systemd_does_not_listen_at_an_address_that_names_a_zone(host: str) -> None:
    def listen_stream(host: str) -> str:
        return unit_files.listen_stream(HttpConfig(TcpAddress(host, 7345), Access(), http_config.Limits(1), {}))

    assert listen_stream("fe80::1") == "[fe80::1]:7345"
    assert listen_stream(host) == ""


@pytest.mark.parametrize("name", ["a\nb", "a\x7fb", os.fsdecode(b"a\xffb")])
def test_a_path_that_systemd_does_not_take_is_refused(name: str) -> None:
    with pytest.raises(StateError, match="has a control character or is not UTF-8") as refused:
        unfit.refuse_unfit_path("user", Path("/srv") / name)
    assert refused.value.message.isprintable()
    unfit.refuse_unfit_path("system", Path("/srv/\u00dcber $b `c` \\d \"e' [f] 100%"))
