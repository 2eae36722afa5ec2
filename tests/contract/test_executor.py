"""One suite for both executors: what a step gets, and how its end is reported. Real processes."""

import asyncio
import os
import signal
import time
from pathlib import Path

import pytest
from executor_rig import UNTIL_GO, Executor, ExecutorRig, ended, numbers, said
from keeper_rig import is_alive

from flowd.domain.limits import Limits

pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="these tests look at processes by /proc")


def test_an_exit_code_is_reported_exactly_and_output_goes_to_its_files(executor_rig: ExecutorRig) -> None:
    async def test(executor: Executor) -> None:
        good, seven = executor_rig.launch("echo out; echo err >&2"), executor_rig.launch("exit 7")
        exits = await asyncio.gather(ended(executor, good), ended(executor, seven))
        assert [(exit_.code, exit_.signal, exit_.cause) for exit_ in exits] == [(0, None, None), (7, None, None)]
        assert not [exit_ for exit_ in exits if exit_.leftovers or exit_.survivors or exit_.out_of_memory]
        assert (said(good), Path(good.stderr_path).read_text()) == ("out\n", "err\n")
        assert os.stat(good.stdout_path).st_mode & 0o777 == 0o600

    executor_rig.run(test)


@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGKILL, signal.SIGTERM])
def test_a_signal_that_ends_the_step_is_reported_by_its_number(
    executor_rig: ExecutorRig, number: signal.Signals
) -> None:
    async def test(executor: Executor) -> None:
        exit_ = await ended(executor, executor_rig.launch(f"kill -{int(number)} $$"))
        assert (exit_.code, exit_.signal, exit_.cause) == (None, number, None)

    executor_rig.run(test)


def test_when_a_step_ended_is_known(executor_rig: ExecutorRig) -> None:
    async def test(executor: Executor) -> None:
        before_ms = time.time_ns() // 1_000_000
        exit_ = await ended(executor, executor_rig.launch("exit 0"))
        assert exit_.ended_at_ms is not None
        assert before_ms <= exit_.ended_at_ms <= time.time_ns() // 1_000_000

    executor_rig.run(test)


def test_how_long_a_step_took_is_measured(executor_rig: ExecutorRig) -> None:
    async def test(executor: Executor) -> None:
        before_s = time.monotonic()
        exit_ = await ended(executor, executor_rig.launch("sleep 0.3"))
        assert exit_.duration_ms is not None
        # systemd notes a start once it has forked: on a busy machine the step is under way by then.
        least_ms = 300 if executor_rig.kind == "direct" else 200
        assert least_ms <= exit_.duration_ms <= (time.monotonic() - before_s) * 1000 + 1

    executor_rig.run(test)


def test_a_step_gets_its_input_its_environment_on_top_of_the_base_and_its_directory(executor_rig: ExecutorRig) -> None:
    async def test(executor: Executor) -> None:
        launch = executor_rig.launch(
            'cat; printf "%s|" "$BASE" "$ADDED" "$PWD"', stdin=b'{"a": 1}\n', env={"ADDED": 'é "x" $y'}, cwd="/usr"
        )
        assert (await ended(executor, launch)).code == 0
        assert said(launch) == '{"a": 1}\nbase|é "x" $y|/usr|'

    executor_rig.run(test)


def test_input_need_not_be_read_and_arguments_arrive_as_they_are(executor_rig: ExecutorRig) -> None:
    async def test(executor: Executor) -> None:
        words = ["a b", "$HOME", "%i", '"', "\\", "é", ""]
        launch = executor_rig.launch_program("/usr/bin/printf", "%s|", *words, stdin=b"x" * 300_000)
        assert (await ended(executor, launch)).code == 0
        assert said(launch) == "".join(f"{word}|" for word in words)

    executor_rig.run(test)


# Two seconds: on a busy machine it takes a shell longer than one would think to set its trap.
def test_a_timeout_lets_the_step_end_by_itself_within_its_grace(executor_rig: ExecutorRig) -> None:
    async def test(executor: Executor) -> None:
        launch = executor_rig.launch("trap 'exit 5' TERM; while :; do sleep 0.01; done", timeout_s=2.0)
        exit_ = await ended(executor, launch)
        assert (exit_.code, exit_.cause) == (5, "timeout")

    executor_rig.run(test)


def test_a_timeout_kills_what_outlasts_the_grace(executor_rig: ExecutorRig) -> None:
    async def test(executor: Executor) -> None:
        launch = executor_rig.launch("trap '' TERM; echo $$; while :; do sleep 0.01; done", timeout_s=2.0, grace_s=0.2)
        exit_ = await ended(executor, launch)
        assert (exit_.signal, exit_.cause, exit_.survivors) == (signal.SIGKILL, "timeout", ())
        assert not is_alive(int(said(launch)))

    executor_rig.run(test)


def test_a_cancel_gives_the_grace_that_it_says(executor_rig: ExecutorRig) -> None:
    async def test(executor: Executor) -> None:
        script = "trap '{} 9' TERM; echo 1; while :; do sleep 0.01; done"
        polite, deaf, at_once = (executor_rig.launch(script.format(end)) for end in ("exit", ": exit", "exit"))
        for launch in (polite, deaf, at_once):
            await executor.start(launch)
            await numbers(launch)
        await executor.stop(polite.attempt_id, cause="canceled", grace_s=30)
        await executor.stop(deaf.attempt_id, cause="canceled", grace_s=0.2)
        await executor.stop(at_once.attempt_id, cause="canceled", grace_s=0)
        exits = [await executor.wait(launch.attempt_id) for launch in (polite, deaf, at_once)]
        assert [(exit_.code, exit_.signal, exit_.cause) for exit_ in exits] == [
            (9, None, "canceled"),
            (None, signal.SIGKILL, "canceled"),
            (None, signal.SIGKILL, "canceled"),
        ]

    executor_rig.run(test)


def test_the_first_cause_of_a_stop_stays_and_a_later_stop_may_shorten_the_grace(executor_rig: ExecutorRig) -> None:
    async def test(executor: Executor) -> None:
        launch = executor_rig.launch("trap '' TERM; echo 1; while :; do sleep 0.01; done", grace_s=50)
        await executor.start(launch)
        await numbers(launch)
        await executor.stop(launch.attempt_id, cause="canceled", grace_s=50)
        await executor.stop(launch.attempt_id, cause="timeout", grace_s=0.1)
        exit_ = await executor.wait(launch.attempt_id)
        assert (exit_.signal, exit_.cause) == (signal.SIGKILL, "canceled")

    executor_rig.run(test)


def test_a_cancel_reaches_what_has_left_the_session_and_ignores_sigterm(executor_rig: ExecutorRig) -> None:
    async def test(executor: Executor) -> None:
        deaf = 'trap "" TERM; echo \\$\\$; while :; do sleep 0.01; done'
        launch = executor_rig.launch(
            f'echo $$; setsid sh -c "{deaf}" & setsid sh -c "setsid sh -c \'sleep 300\' & echo 1" & wait'
        )
        await executor.start(launch)
        pids = await numbers(launch, 3)
        await executor.stop(launch.attempt_id, cause="canceled", grace_s=0.3)
        exit_ = await executor.wait(launch.attempt_id)
        assert (exit_.cause, exit_.survivors) == ("canceled", ())
        assert not [pid for pid in pids if pid != 1 and is_alive(pid)]

    executor_rig.run(test)


def test_a_stop_of_what_is_unknown_or_has_ended_changes_nothing(executor_rig: ExecutorRig) -> None:
    async def test(executor: Executor) -> None:
        launch = executor_rig.launch("exit 3")
        exit_ = await ended(executor, launch)
        await executor.stop(launch.attempt_id, cause="canceled", grace_s=0)
        await executor.stop("run_000000000000", cause="canceled", grace_s=0)
        assert await executor.wait(launch.attempt_id) == exit_
        assert exit_.cause is None

    executor_rig.run(test)


def test_output_beyond_the_limit_ends_the_step_and_is_cut(executor_rig: ExecutorRig) -> None:
    async def test(executor: Executor) -> None:
        launch = executor_rig.launch("while :; do echo 0123456789 >&2; sleep 0.001; done", max_output_bytes=1000)
        assert (await ended(executor, launch)).cause == "output_limit"
        assert os.stat(launch.stderr_path).st_size == 1000

    executor_rig.run(test)


def test_a_flood_of_output_is_given_no_grace(executor_rig: ExecutorRig) -> None:
    async def test(executor: Executor) -> None:
        script = "trap '' TERM; while :; do echo 0123456789; sleep 0.001; done"
        exit_ = await ended(executor, executor_rig.launch(script, max_output_bytes=500, grace_s=300, timeout_s=300))
        assert (exit_.signal, exit_.cause) == (signal.SIGKILL, "output_limit")

    executor_rig.run(test)


def test_too_much_output_of_a_step_that_ends_at_once_is_cut_as_well(executor_rig: ExecutorRig) -> None:
    async def test(executor: Executor) -> None:
        launch = executor_rig.launch("head -c 5000 /dev/zero", max_output_bytes=1000)
        exit_ = await ended(executor, launch)
        # Who drains a pipe may see that it is too much before the script has ended, and ends it: its end was seen.
        assert (exit_.code, exit_.signal) in ((0, None), (None, signal.SIGTERM))
        assert exit_.cause == "output_limit"
        assert os.stat(launch.stdout_path).st_size == 1000

    executor_rig.run(test)


def test_output_that_is_opened_anew_is_whole_or_is_said_to_have_shrunk(executor_rig: ExecutorRig) -> None:
    async def test(executor: Executor) -> None:
        launch = executor_rig.launch("echo 0123456789 >&2; sleep 0.6; echo cut > /dev/stderr")
        exit_ = await ended(executor, launch)
        is_whole = Path(launch.stderr_path).read_text() == "0123456789\ncut\n"
        assert (is_whole, exit_.shrunk) == ((True, ()) if executor_rig.kind == "direct" else (False, ("stderr",)))

    executor_rig.run(test)


def test_what_prints_after_its_script_has_the_grace_to_do_so(executor_rig: ExecutorRig) -> None:
    async def test(executor: Executor) -> None:
        late = "for i in 1 2 3 4 5 6; do echo $i; sleep 0.02; done & exit 0"
        launch = executor_rig.launch(late, grace_s=30.0)
        exit_ = await ended(executor, launch)
        assert (said(launch).split(), exit_.leftovers) == (["1", "2", "3", "4", "5", "6"], ())
        endless = executor_rig.launch("while :; do echo on; sleep 0.005; done & exit 0", grace_s=0.5)
        exit_ = await ended(executor, endless)
        assert (exit_.code, bool(exit_.leftovers), exit_.was_writing) == (0, True, True)

    executor_rig.run(test)


def test_what_a_step_leaves_behind_is_ended_and_named(executor_rig: ExecutorRig) -> None:
    async def test(executor: Executor) -> None:
        launch = executor_rig.launch("setsid sleep 300 & echo $!")
        exit_ = await ended(executor, launch)
        assert (exit_.code, exit_.survivors, len(exit_.leftovers)) == (0, (), 1)
        pid, name = exit_.leftovers[0].split(" ", 1)
        assert "sleep" in name
        assert not is_alive(int(pid))

    executor_rig.run(test)


def test_what_is_left_behind_without_a_command_line_is_ended_and_named_too(executor_rig: ExecutorRig) -> None:
    async def test(executor: Executor) -> None:
        nameless = """python3 -c 'import os; os.execvp("cat", [" "])' <> pipe & """
        until_it_is = "until grep -qx cat /proc/$!/comm; do sleep 0.01; done; echo $!"
        launch = executor_rig.launch(f"mkfifo pipe; {nameless}{until_it_is}")
        exit_ = await ended(executor, launch)
        assert (exit_.code, exit_.survivors, len(exit_.leftovers)) == (0, (), 1)
        pid, name = exit_.leftovers[0].split(" ", 1)
        assert (pid, name.strip("[]")) == (said(launch).strip(), "cat")
        assert not is_alive(int(pid))

    executor_rig.run(test)


def test_what_a_failed_step_leaves_behind_is_ended_too(executor_rig: ExecutorRig) -> None:
    async def test(executor: Executor) -> None:
        launch = executor_rig.launch("setsid sleep 300 & echo $!; exit 6")
        exit_ = await ended(executor, launch)
        assert (exit_.code, exit_.cause, exit_.survivors) == (6, None, ())
        assert not is_alive(int(said(launch)))

    executor_rig.run(test)


def test_a_detached_step_leaves_behind_what_it_wants(executor_rig: ExecutorRig) -> None:
    async def test(executor: Executor) -> None:
        launch = executor_rig.launch("setsid sleep 300 & echo $!", detach=True)
        exit_ = await ended(executor, launch)
        assert (exit_.code, exit_.leftovers) == (0, ())
        await executor.forget(launch.attempt_id)
        pid = int(said(launch))
        assert is_alive(pid)
        os.kill(pid, signal.SIGKILL)

    executor_rig.run(test)


def test_limits_are_what_the_step_finds(executor_rig: ExecutorRig) -> None:
    async def test(executor: Executor) -> None:
        nicer = min(19, os.nice(0) + 7)  # whoever is not root can ask for no less than what they have
        limits = Limits(open_files=50, umask=0o027, niceness=nicer, file_bytes=1 << 20)
        launch = executor_rig.launch("ulimit -n; umask; nice; ulimit -f", limits=limits)
        assert (await ended(executor, launch)).code == 0
        assert said(launch).split() == ["50", "0027", str(nicer), "2048"]

    executor_rig.run(test)


def test_a_limit_of_processor_time_ends_the_step_by_its_signal(executor_rig: ExecutorRig) -> None:
    async def test(executor: Executor) -> None:
        exit_ = await ended(executor, executor_rig.launch("while :; do :; done", limits=Limits(cpu_time_s=1)))
        assert (exit_.signal, exit_.cause) == (signal.SIGXCPU, None)

    executor_rig.run(test)


def test_many_may_wait_and_after_the_end_as_well(executor_rig: ExecutorRig) -> None:
    async def test(executor: Executor) -> None:
        launch = executor_rig.launch(UNTIL_GO + "exit 4")
        await executor.start(launch)
        waits = [asyncio.create_task(executor.wait(launch.attempt_id)) for _ in range(3)]
        await asyncio.sleep(0)
        waits[0].cancel()
        (executor_rig.folder / "go").touch()
        first, *others = await asyncio.gather(*waits, return_exceptions=True)
        assert isinstance(first, asyncio.CancelledError)
        assert [exit_.code for exit_ in (*others, await executor.wait(launch.attempt_id))] == [4, 4, 4]

    executor_rig.run(test)


def test_many_steps_at_once_have_each_its_own_end(executor_rig: ExecutorRig) -> None:
    async def test(executor: Executor) -> None:
        launches = [executor_rig.launch(f"echo {number}; exit {number}") for number in range(20)]
        exits = await asyncio.gather(*(ended(executor, launch) for launch in launches))
        assert [exit_.code for exit_ in exits] == list(range(20))
        assert [int(said(launch)) for launch in launches] == list(range(20))

    executor_rig.run(test)
