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

MODULES = (
    "_core.http11",
    "_core.http_plans",
    "_core.jsonrpc",
    "_core.signing",
    "_core.sse",
    "discovery",
    "views.reading",
    "views.run",
)


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


def test_a_mode_that_is_none_and_options_of_another_mode_are_refused() -> None:
    for create in (create_flow_client, create_async_flow_client):
        with pytest.raises(UnavailableModeError, match='must be "socket", "http" or "local"'):
            create("carrier pigeon")  # type: ignore[call-overload]
        with pytest.raises(TypeError, match="base_url"):
            create("socket", base_url="http://127.0.0.1:1")  # type: ignore[call-overload]
        with pytest.raises(UnavailableModeError, match='state="file"'):
            create("local", state_dir="/somewhere")
        for url in ("ftp://x", "127.0.0.1:7345", "http://", "http://me:secret@host", "http://host/?a=b", "http://h:x"):
            with pytest.raises(UnavailableModeError, match="base_url"):
                create("http", base_url=url)


LOADING = "import sys, flowd_client; bare = set(sys.modules); {}; print(*sorted(set(sys.modules)))"


def loaded_by(statement: str, folder: Path, *options: str) -> set[str]:
    """The modules that a fresh interpreter has loaded after a statement."""
    argv = [sys.executable, *options, "-c", LOADING.format(statement)]
    return set(subprocess.run(argv, cwd=folder, capture_output=True, text=True, check=True).stdout.split())


HEAVY = {"asyncio", "ssl", "http", "http.client", "socket", "dataclasses", "urllib", "hmac", "flowd"}


def test_importing_the_library_loads_next_to_nothing(tmp_path: Path) -> None:
    tops = {name.partition(".")[0] for name in loaded_by("pass", tmp_path)}
    assert tops.isdisjoint(HEAVY)


def test_a_client_of_one_mode_does_not_load_the_others(tmp_path: Path) -> None:
    socket_mode = loaded_by("flowd_client.create_flow_client(socket_path='/nowhere')", tmp_path)
    assert socket_mode.isdisjoint({"asyncio", "ssl", "concurrent.futures", "flowd", "flowd_client._core.http11"})
    http_mode = loaded_by("flowd_client.create_flow_client('http')", tmp_path)
    assert "flowd_client._core.http11" in http_mode
    assert http_mode.isdisjoint({"asyncio", "ssl", "flowd"})


def test_without_flowd_local_mode_says_what_to_install(tmp_path: Path) -> None:
    hide = "sys.modules['flowd'] = None"
    script = (
        f"{hide}\ntry: flowd_client.create_flow_client('local')\nexcept flowd_client.FlowClientError as e: print(e)"
    )
    argv = [sys.executable, "-c", f"import sys, flowd_client\n{script}"]
    said = subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    assert "in a clone of its repository: pip install ." in said


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
