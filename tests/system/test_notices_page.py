"""The recipes of docs/notices.md, done to the letter: a mail, a pop-up and a chat are told of a failure."""

import json
import os
import re
from pathlib import Path

from daemon_rig import Workspace, until
from webhook_rig import Receiver

PAGE = Path(__file__).parents[2] / "docs" / "notices.md"
FILE = re.compile(r"<!-- file: (\S+) -->\n```\w+\n(.*?)```", re.DOTALL)

FAKE = '#!/bin/sh\n{ printf \'%s\\n\' "$@"; test "$1" != -t || cat; } > NAME.part && mv NAME.part NAME.got\n'
"""Writes down its arguments, and what it reads where it is a sendmail."""


def test_the_recipes_tell_of_a_failure(place: Workspace, tmp_path: Path) -> None:
    files = dict(FILE.findall(PAGE.read_text(encoding="utf-8")))
    assert set(files) == {".codex/notify/mail.py", ".codex/notify/desktop.py", ".codex/flowd.toml"}
    for name, text in files.items():
        path = place.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        if name.endswith(".py"):
            path.chmod(0o755)
    for name in ("sendmail", "notify-send"):
        (tmp_path / name).write_text(FAKE.replace("NAME", f"{tmp_path}/{name}"))
        (tmp_path / name).chmod(0o755)
    chat = Receiver()
    try:
        (place.path / ".codex/notify/chat.url").write_text(f"http://127.0.0.1:{chat.port}/services/T0/B0/x\n")
        place.flow("release", "exit 1")
        place.start(PATH=f"{tmp_path}:{os.environ['PATH']}")
        with place.client() as client:
            client.dispatch_event({"id": "e1", "type": "release.go", "payload": {}}, wait=True)
        mail = until((tmp_path / "sendmail.got").exists, what="the mail") and (tmp_path / "sendmail.got").read_text()
        pop_up = until((tmp_path / "notify-send.got").exists, what="the pop-up")
        said = "release/main failed: exited with 1. Event e1."
        assert mail.startswith("-t\n-i\nTo: ops@example.org\nSubject: [flowd] release: failed\n")
        assert mail.rstrip().endswith(said)
        pop_up = (tmp_path / "notify-send.got").read_text()
        assert pop_up.splitlines() == ["--urgency", "critical", "--app-name", "flowd", "flowd", said]
        until(lambda: chat.got, what="the chat")
        ((path, _, body),) = chat.got
        assert (path, json.loads(body)["text"]) == ("/services/T0/B0/x", said)
        notifiers = {one["name"]: one for one in place.call("flow.notices")["notifiers"]}
        assert set(notifiers) == {"mail.py", "desktop.py", "chat"}
        assert "services" not in json.dumps(notifiers)
    finally:
        chat.close()
