"""The last part of a large output is read whole, even if the attempt ends between two looks of one reading."""

import asyncio
from pathlib import Path
from typing import Any, cast

from flowd.domain.redaction import Redactor
from flowd.domain.stored import Output
from flowd.engine.output_reader import OutputReader
from flowd.engine.outputs import OutputFiles
from flowd.ports import Store

MORE = b"x" * 100_000


class EndingBetweenLooks:
    """A store in which an attempt ends at the second look, having printed more since the first."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._looks = 0

    async def output(self, run_id: str, number: int) -> Output | None:
        self._looks += 1
        if self._looks == 1:
            return None
        with self._path.open("ab") as file:
            file.write(MORE)
        size = self._path.stat().st_size
        return Output(None, b"", size, 0, is_truncated=False)


def test_what_was_printed_between_two_looks_at_an_end_is_read(tmp_path: Path) -> None:
    outputs = OutputFiles(tmp_path, max_output_bytes=1 << 20)
    path = Path(outputs.path("run_1", "stdout"))
    path.write_bytes(b"begin\n")
    store: Any = EndingBetweenLooks(path)
    reader = OutputReader(cast("Store", store), outputs, redactor=Redactor([]))
    part = asyncio.run(reader.part("run_1", 1, "stdout", 6, 1 << 20))
    assert part.is_final
    assert part.data == MORE
    assert part.size == part.next_offset == 6 + len(MORE)
