"""The description at /openapi.json is true: schemathesis sends what it allows, and what it does not."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import jsonschema_rs
import pytest
from daemon_rig import say, workspace
from http_rig import HttpPlace

CHECKS = (
    "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance,"
    "response_headers_conformance,unsupported_method"
)


@pytest.fixture(scope="module")
def web() -> Iterator[HttpPlace]:
    with workspace() as place:
        place.flow("hello", say("changed"))
        it = HttpPlace(place).start()
        it.post("/events?wait=true", {"id": "e", "type": "hello.go"})
        yield it


_ASKED = {"/ids": "?prefix=run_"}


def test_every_answer_of_the_daemon_fits_its_own_description(web: HttpPlace) -> None:
    document = web.get("/openapi.json").json
    assert document["openapi"].startswith("3.1")
    run_id = web.get("/runs").json["runs"][0]["id"]
    seen = 0
    for path, operations in document["paths"].items():
        if "get" not in operations or path in ("/metrics", "/stream", "/runs/{runId}/output"):
            continue
        answer = web.get(path.replace("{runId}", run_id).replace("{eventId}", "e") + _ASKED.get(path, ""))
        schema = operations["get"]["responses"]["200"]["content"]["application/json"]["schema"]
        validator = jsonschema_rs.validator_for({**schema, "components": document["components"]})
        validator.validate(answer.json)
        seen += 1
    assert seen > 8


def test_a_body_is_described_with_all_members_that_its_route_takes(web: HttpPlace) -> None:
    pause = web.get("/openapi.json").json["paths"]["/pause"]["post"]["requestBody"]["content"]["application/json"]
    assert pause["schema"]["properties"].keys() == {"flow", "step"}
    assert pause["schema"]["additionalProperties"] is False


_NOT_TRIED = ("--exclude-path", "/hosts/{host}/forget") if os.environ.get("TEST_STORE") == "postgres" else ()
"""With a store that hosts share, whoever forgets the host that is asked ends its daemon."""


@pytest.mark.timeout(400)
def test_schemathesis_finds_no_unexpected_answer(web: HttpPlace, tmp_path: Path) -> None:
    program = Path(sys.executable).with_name("schemathesis")
    if not program.exists():
        pytest.skip("NOT TESTED: schemathesis is not here, as it needs more than the lowest versions that flowd does")
    done = subprocess.run(
        [
            str(program), "run", f"{web.url}/openapi.json",
            "--checks", CHECKS, "--max-examples", "12", "--phases", "examples,coverage,fuzzing",
            "--exclude-path", "/stream", *_NOT_TRIED, "--request-timeout", "10",
            "--generation-database", "none", "--seed", "1", "--suppress-health-check", "all", "--no-color",
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    assert "Traceback" not in web.place.log()
    assert "unexpected error" not in web.place.log()
