"""Keepers of other versions: what they cannot keep is refused, and they go as soon as nothing runs under them."""

import dataclasses
import sys
from pathlib import Path
from typing import Any

import pytest
from keeper_rig import UNTIL_FILE, Rig, keeper, run, until

from flowd.domain.launching import Command, Launch, SpawnError
from flowd.domain.limits import Limits
from flowd.executors.direct.frames import start_request
from flowd.keeper import identity

OF_BEFORE = """
from flowd.keeper import main
send = main.Keeper._send
def send_as_ever(self, header, body=b""):
    if header["op"] == "hello":
        header = {key: value for key, value in header.items() if key not in ("version", "code", "abilities")}
        header["capabilities"] = [name for name in header["capabilities"] if name not in ("clone3", "cgroup")]
    send(self, header, body)
main.Keeper._send = send_as_ever
main.main(*sys.argv[1:])
"""
"""A keeper from before there were limits: it tells neither its code nor its abilities."""


def interpreter(folder: Path) -> str:
    """A Python that starts such keepers."""
    program, boot = folder / "python", folder / "boot.py"
    boot.write_text(f"import sys\nsys.argv = sys.argv[1:]\nsys.path.insert(0, sys.argv[0])\n{OF_BEFORE}")
    program.write_text(f'#!/bin/sh\nshift 4\nexec {sys.executable} -I -S {boot} "$@"\n')
    program.chmod(0o755)
    return str(program)


def test_an_old_keeper_is_asked_nothing_it_cannot_keep_and_goes_with_its_last_step(tmp_path: Path) -> None:
    async def test() -> None:
        rig = Rig(tmp_path)
        client = await rig.client(python=interpreter(tmp_path))
        old_pid = client.pid
        await client.start(rig.launch("running", UNTIL_FILE + "7", env={"GO": str(tmp_path / "go")}))
        assert (await rig.run(client, "ended", "exit 3")).code == 3
        await client.close(end_steps=False)

        client = await rig.client()
        assert client.pid == old_pid
        assert client.outdated is not None
        assert "limits.umask" in client.outdated["lacks"]
        with pytest.raises(SpawnError, match=r"another version.*limits, limits\.umask"):
            await client.start(rig.launch("refused", "exit 0", limits=Limits(umask=0o77)))
        assert not await client.knows("refused")
        assert (await rig.run(client, "plain", "exit 5")).code == 5
        (tmp_path / "go").touch()
        assert (await client.wait("running")).code == 7
        for name in ("running", "ended", "plain"):
            assert client.pid == old_pid  # it has something to tell
            await client.forget(name)
        await until(lambda: client.pid not in (None, old_pid), "it is replaced")
        end = await rig.run(client, "limited", "umask; exit 6", limits=Limits(umask=0o77))
        assert (end.code, rig.output("limited"), client.outdated, client.restarts) == (6, "0077\n", None, 0)
        assert client.pid != old_pid
        assert client.records() == ()
        await client.close(end_steps=True)
        rig.end()

    run(test())


def test_an_idle_keeper_of_another_version_is_replaced_at_once(tmp_path: Path) -> None:
    async def test() -> None:
        rig = Rig(tmp_path)
        client = await rig.client(python=interpreter(tmp_path))
        old_pid = client.pid
        assert (await rig.run(client, "ended", "exit 3")).code == 3
        await client.close(end_steps=False)
        client = await rig.client()
        assert client.pid != old_pid
        assert client.outdated is None
        assert [(record["id"], record["code"]) for record in client.records()] == [("ended", 3)]
        same_pid = client.pid
        await client.close(end_steps=False)
        client = await rig.client()
        assert client.pid == same_pid  # ours is not replaced
        await client.close(end_steps=True)
        rig.end()

    run(test())


def test_a_keeper_refuses_what_a_newer_daemon_asks_and_it_does_not_know(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def newer(launch: Launch, mark_suffix: str) -> dict[str, Any]:
        return {**start_request(launch, mark_suffix), "colour": "red", "taste": None}

    monkeypatch.setattr("flowd.executors.direct.executor.start_request", newer)
    monkeypatch.setattr("flowd.executors.direct.executor.asked", lambda _: set())

    async def test() -> None:
        async with keeper(tmp_path) as (rig, client):
            with pytest.raises(SpawnError, match=r"cannot keep colour\."):
                await client.start(rig.launch("refused", "exit 0"))
            assert not rig.path("refused", "out").exists()

    run(test())


def test_every_limit_is_an_ability_that_is_told() -> None:
    limits = Limits(**{field.name: 1 for field in dataclasses.fields(Limits)})
    command = Command(("/bin/true",), "/", {"A": "b"}, b"")
    request = start_request(
        Launch("a", command, "o", "e", 1.0, 1.0, 1, detach=True, limits=limits, lease_until_s=1.0), "x"
    )
    assert identity.asked(request) == identity.ABILITIES
