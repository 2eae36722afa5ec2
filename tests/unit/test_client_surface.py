"""The library's public face: light to import, standard library only, the same verbs in both clients."""

import doctest
import inspect
import json
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import flowd_client
from flowd_client import AsyncFlowClient, FlowClient, UnavailableModeError, create_async_flow_client, create_flow_client

MODULES = ("transport", "views.reading", "views.run")


@pytest.mark.parametrize("name", MODULES)
def test_doctests(name: str) -> None:
    results = doctest.testmod(import_module(f"flowd_client.{name}"))
    assert results.attempted
    assert not results.failed


def test_every_public_name_is_there() -> None:
    for name in flowd_client.__all__:
        assert getattr(flowd_client, name) is not None
    with pytest.raises(AttributeError):
        _ = flowd_client.no_such_name


def test_both_clients_have_the_same_verbs_with_the_same_parameters() -> None:
    def verbs(client: type) -> dict[str, list[tuple[str, object, object]]]:
        return {
            name: [(p.name, p.default, p.kind) for p in inspect.signature(member).parameters.values()]
            for name, member in inspect.getmembers(client, inspect.isfunction)
            if not name.startswith("_")
        }

    assert verbs(FlowClient) == verbs(AsyncFlowClient)
    assert {"dispatch_event", "wait_run", "follow_output", "call"} <= verbs(FlowClient).keys()


@pytest.mark.parametrize("mode", ["http", "local"])
def test_modes_to_come_say_so(mode: str) -> None:
    for create in (create_flow_client, create_async_flow_client):
        with pytest.raises(UnavailableModeError, match="not available"):
            create(mode)  # type: ignore[arg-type]


def test_the_blocking_client_loads_neither_asyncio_nor_anything_from_outside(tmp_path: Path) -> None:
    script = (
        "import sys, json, flowd_client; bare = set(sys.modules);"
        "flowd_client.create_flow_client(socket_path='/nowhere').close();"
        "print(json.dumps([sorted(sys.modules), len(bare)]))"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True)
    modules = json.loads(done.stdout)[0]
    tops = {name.partition(".")[0] for name in modules}
    assert tops.isdisjoint({"asyncio", "ssl", "dataclasses", "click", "rich", "msgspec", "flowd"})
    assert "flowd_client.views.run" not in modules
