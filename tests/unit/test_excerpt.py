"""The end of a step's output in its error."""

from hypothesis import given
from hypothesis import strategies as st

from flowd.domain.excerpt import MAX_CHARS, excerpt


def test_both_streams_are_shown_and_silence_is_said() -> None:
    assert excerpt("bad\nworse\n", "hello\n") == "stderr:\n  bad\n  worse\nstdout:\n  hello"
    assert excerpt("", "hello") == "stderr: nothing\nstdout:\n  hello"
    assert excerpt("\n\n", "") == "It printed nothing on stdout or stderr."


def test_each_stream_has_half_and_what_the_other_one_leaves() -> None:
    many = "".join(f"line {n}\n" for n in range(2000))
    both = excerpt(many, many)
    err, out = both.split("\nstdout")
    assert len(both) > 0.9 * MAX_CHARS
    assert 0.8 < len(err) / len(out) < 1.25
    assert both.endswith("  line 1999")
    alone = excerpt(many, "little\n")
    assert len(alone) > 0.9 * MAX_CHARS
    assert alone.endswith("line 1999\nstdout:\n  little")
    assert "little" in excerpt("little\n", many)


def test_lines_are_never_cut_but_a_line_longer_than_the_room_keeps_its_end() -> None:
    lines = [f"{n:04}-" + "x" * 95 for n in range(100)]
    shown = excerpt("\n".join(lines), "").splitlines()
    assert shown[0] == f"stderr, the last {len(shown) - 2} lines:"
    assert all(line.strip() in lines for line in shown[1:-1])
    assert shown[-1] == "stdout: nothing"
    monster = excerpt("y" * 10_000 + "END", "")
    assert monster.startswith("stderr, the end of the last line:\n  …yy")
    assert "yEND\n" in monster


def test_a_progress_line_is_shown_as_it_was_last_seen() -> None:
    assert excerpt("10%\r50%\r100%\r\ndone\r\n", "") == "stderr:\n  100%\n  done\nstdout: nothing"


@given(st.text(max_size=9000), st.text(max_size=9000))
def test_it_is_never_longer_than_promised(stderr: str, stdout: str) -> None:
    assert len(excerpt(stderr, stdout)) <= MAX_CHARS
