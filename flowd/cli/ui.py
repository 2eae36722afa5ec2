"""``flowd ui``: opens the web page."""

import os
import shutil
import subprocess
import webbrowser
from collections.abc import Mapping

import click

from flowd.cli import printing
from flowd.cli.session import Session
from flowd.cli.verb import Verb, as_json_option
from flowd_client import requests

_SCREENS = ("DISPLAY", "WAYLAND_DISPLAY")


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
    if is_printed or not _opened(url, os.environ):
        printing.line(url)
    if page.get("untilStop"):
        printing.note(
            "HTTP is off, so the page is there until the daemon stops. To keep it on: flowd serve --http, or "
            'listen = "127.0.0.1:7345" under [http] in .codex/flowd.toml.'
        )


def _opened(url: str, environ: Mapping[str, str]) -> bool:
    """Whether a browser was told to show it. None is looked for where there is no screen."""
    if not any(environ.get(name) for name in _SCREENS) and not environ.get("BROWSER") and not shutil.which("open"):
        return False
    opener = shutil.which("xdg-open")
    if opener is None or environ.get("BROWSER"):
        return webbrowser.open(url)
    done = subprocess.run([opener, url], check=False, capture_output=True)
    return done.returncode == 0
