"""``flowd ui``: opens the web page."""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping

import click

from flowd.cli import printing
from flowd.cli.session import Session
from flowd.cli.verb import Verb, as_json_option
from flowd_client import requests

_SCREENS = ("DISPLAY", "WAYLAND_DISPLAY")

_OPENED_WITHIN_S = 3.0
"""Some openers stay until the browser is closed; one that has no browser to open says so sooner."""


@click.command(cls=Verb, short_help="Open the web page.")
@click.option("--print", "is_printed", is_flag=True, help="Print the link; open no browser.")
@as_json_option
@click.pass_obj
def ui(session: Session, *, is_printed: bool, as_json: bool) -> None:
    """Open the web page of the workspace's daemon in the browser, logged in.

    The link counts once, within five minutes; the browser stays logged in for 30 days. Where HTTP is off, the daemon
    serves the page on a port of 127.0.0.1 until it stops; "flowd serve --http", or listen = "127.0.0.1:7345" under
    [http] in .codex/flowd.toml, keeps it on.

    \b
    Examples:
      flowd ui
      flowd ui --print       on a server: forward the port, open the link at home
    """
    page = session.ask(requests.open_page())
    if as_json:
        printing.print_json(page)
        return
    url = str(page["url"])
    if not is_printed and _opened(url, os.environ):
        printing.line(f"opened {url.partition('login?')[0]} in the browser")
    else:
        printing.line(url)
    if page.get("untilStop"):
        printing.note(
            "HTTP is off, so the page is there until the daemon stops. To keep it on: flowd serve --http, or "
            'listen = "127.0.0.1:7345" under [http] in .codex/flowd.toml.'
        )


def _opened(url: str, environ: Mapping[str, str]) -> bool:
    """Whether a browser was told to show it. None is looked for where there is no screen."""
    opener = shutil.which("open" if sys.platform == "darwin" else "xdg-open")
    if opener is None or not (sys.platform == "darwin" or any(environ.get(name) for name in _SCREENS)):
        return False
    started = subprocess.Popen(
        [opener, url],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # where it becomes the browser itself, that outlives our terminal
    )
    try:
        return started.wait(_OPENED_WITHIN_S) == 0
    except subprocess.TimeoutExpired:
        return True
