"""The picture of ``flowd top`` in its documentation: what it shows is what a reader sees."""

import os
import re
from pathlib import Path
from typing import Final

from daemon_rig import Workspace, say
from top_rig import Reader, by_socket, read

PICTURE: Final = Path(__file__).parents[2] / "docs" / "pictures" / "top.svg"
SHOWN_AS: Final = "~/src/shop"

NIGHTLY: Final = """
echo 'FLOW_PROGRESS {"percent": 60, "message": "12 of 20 suites"}'
while [ ! -e go ]; do sleep 0.1; done
"""


def test_one_screen_shows_what_asks_runs_waits_and_has_ended(place: Workspace) -> None:
    place.flow("nightly", NIGHTLY)
    place.flow("publish", say("needs_intervention", message="Publish v1.2.0 to the index?"))
    place.flow("build", say("changed", message="built shop-1.2.0.tar.gz"))
    place.flow("lint", say("failed", message="cart.py:7: unused import"))
    place.start(FLOWD_MAX_PARALLEL="1")
    for flow in ("build", "lint", "publish"):
        place.call("flow.dispatch", event={"id": f"{flow}:v1.2.0", "type": f"{flow}.go"}, wait=True)
    for day in ("monday", "tuesday"):
        place.call("flow.dispatch", event={"id": f"night:{day}", "type": "nightly.go"})

    async def does(reader: Reader) -> None:
        await reader.sees(
            "Publish v1.2.0 to the index?", "60 %", "12 of 20 suites", "place 1", "built shop-1.2.0.tar.gz"
        )
        picture = shown(reader.app.export_screenshot(title="flowd top"), str(place.path))
        assert "Publish&#160;v1.2.0" in picture
        assert SHOWN_AS in picture
        assert str(place.path) not in picture
        assert not re.search(r"(?:href|url)\W+https?:", picture)
        if os.environ.get("PICTURES"):
            PICTURE.write_text(picture, encoding="utf-8")

    read(by_socket(place), does, size=(110, 13))


def shown(svg: str, path: str) -> str:
    """A picture without fonts from elsewhere, and with a home's folder in place of a scratch one, as wide as it."""
    svg = re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL)
    return svg.replace(path, SHOWN_AS + "&#160;" * (len(path) - len(SHOWN_AS)))
