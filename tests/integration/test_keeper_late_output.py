"""What a script's own helpers print after its end, such as a log filter behind its output."""

from pathlib import Path

import pytest
from keeper_rig import keeper, run

FILTER = (
    'exec > >(while read -r line; do echo "$(date +%T) $line"; done) 2>&1; for i in {1..101}; do echo "line $i"; done'
)
SLOW_FILTER = (
    "exec > >(while read -r line; do sleep 0.15; echo filtered $line; done); for i in 1 2 3 4; do echo $i; done"
)


@pytest.mark.parametrize("without", ["", "pipes", "epoll,splice,pidfd,proc,subreaper,memfd"])
def test_a_filter_behind_the_output_has_the_grace_to_print_the_rest(tmp_path: Path, without: str) -> None:
    async def test() -> None:
        async with keeper(tmp_path, without) as (rig, client):
            for name, script, count in (("fast", FILTER, 101), ("slow", SLOW_FILTER, 4)):
                await client.start(rig.launch_program(name, "/bin/bash", "-c", script, grace_s=30.0))
                end = await client.wait(name)
                assert (end.code, len(rig.output(name).splitlines()), end.leftovers) == (0, count, ())

    run(test())


def test_what_prints_on_and_on_is_ended_after_the_grace_and_that_is_told(tmp_path: Path) -> None:
    async def test() -> None:
        async with keeper(tmp_path) as (rig, client):
            endless = "while :; do echo on and on; sleep 0.02; done & echo first"
            end = await rig.run(client, "endless", endless, grace_s=0.6)
            assert (end.code, len(end.leftovers) >= 1, end.was_writing) == (0, True, True)
            silent = await rig.run(client, "silent", "sleep 60 & echo first", grace_s=60.0)
            assert (silent.code, len(silent.leftovers), silent.was_writing) == (0, 1, False)

    run(test())
