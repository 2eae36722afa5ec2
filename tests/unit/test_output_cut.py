"""Output of an ended attempt is cut where its end could not be recorded otherwise, and says so."""

from pathlib import Path

from flowd.domain.stored import Output
from flowd.engine.outputs import INLINE_BYTES, OutputFiles


def test_large_files_are_cut_and_the_rest_stays(tmp_path: Path) -> None:
    outputs = OutputFiles(tmp_path, max_output_bytes=1 << 20)
    Path(outputs.path("r", "stdout")).write_bytes(b"x" * (INLINE_BYTES + 1))
    before = Output(None, b"small", INLINE_BYTES + 1, 5, is_truncated=False)

    after = outputs.cut("r", before)

    assert after == Output(None, b"small", INLINE_BYTES, 5, is_truncated=True)
    assert outputs.stream_size("r", "stdout") == INLINE_BYTES
    assert outputs.cut("r", after) == after


def test_small_output_is_not_touched(tmp_path: Path) -> None:
    output = Output(b"a", b"b", 1, 1)
    assert OutputFiles(tmp_path, max_output_bytes=10).cut("r", output) == output
