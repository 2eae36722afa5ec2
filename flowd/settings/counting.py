"""Tells which values are in force of the settings that flags and variables may set, too, and where each is from."""

from collections.abc import Mapping
from typing import Any

from flowd.formats.typed import fields_of
from flowd.settings import http as settings_http
from flowd.settings import store as settings_store
from flowd.settings.tables import Environment, Runners
from flowd.settings.values import Settings, Simple


def counting(settings: Settings, flags: Mapping[str, object], environ: Mapping[str, str]) -> dict[str, tuple[Any, str]]:
    """Each such setting's value and where it is from, by its name in a settings file."""
    origins = settings.origins
    found = {
        **{name: (getattr(settings, name), origins[name]) for name in (*fields_of(Simple), "state_dir", "socket")},
        **{
            f"runners.{name}": (settings.interpreters.get(name), origins[f"runners.{name}"])
            for name in fields_of(Runners)
        },
        **{f"environment.{name}": (getattr(settings, name), origins[name]) for name in fields_of(Environment)},
        "store": (settings_store.LOCAL if settings.store is None else str(settings.store), origins["store"]),
        "host.name": (settings.host, origins["host"]),
        "host.labels": (settings.labels, origins["labels"]),
        "http.listen": (None if settings.http is None else str(settings.http.address), origins["http"]),
    }
    if flags.get("http_open") or settings_http.open_by(environ):
        found["http.open"] = (True, "flag --http-open" if flags.get("http_open") else "$FLOWD_HTTP_OPEN")
    if path := environ.get("FLOWD_HTTP_SECRET_FILE"):
        found["http.secret_file"] = (path, "$FLOWD_HTTP_SECRET_FILE")
    return found
