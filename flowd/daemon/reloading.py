"""What a reload has changed, of the packages and of the settings."""

import logging
from collections.abc import Callable

from flowd.api.http.config import HttpConfig
from flowd.api.shapes.catalog import ReloadedSettingsView
from flowd.domain.errors import FlowdError
from flowd.domain.flow import Snapshot
from flowd.settings import changes
from flowd.settings.values import Settings

log = logging.getLogger("flowd.daemon")


def changes_of(before: Snapshot, after: Snapshot) -> dict[str, str]:
    """What is different, as fields of a log line."""
    old, new = before.by_name, after.by_name
    names = {
        "added": [name for name in new if name not in old],
        "removed": [name for name in old if name not in new],
        "changed": [name for name in new if name in old and new[name].package_hash != old[name].package_hash],
        "broken_packages": [package.name for package in after.broken],
    }
    return {what: ",".join(found) for what, found in names.items() if found}


def settings_anew(
    settings: Settings, read: Callable[[], Settings], *, take_http: Callable[[HttpConfig | None], None]
) -> tuple[Settings, ReloadedSettingsView | None]:
    """The settings as they are now, with what can change while a daemon runs taken over, and what is told of that: None
    where nothing has changed. Where they cannot be read, those in force stay."""
    try:
        change = changes.between(settings, read())
        take_http(change.settings.http)
    except FlowdError as error:
        log.error("settings not reloaded", extra={"problem": error.message})
        return settings, ReloadedSettingsView(problem=error.message)
    logging.getLogger("flowd").setLevel(change.settings.log_level.upper())
    if not change.taken and not change.waiting:
        return change.settings, None
    facts = {"changed": ",".join(change.taken), "wait_for_a_restart": ",".join(change.waiting)}
    log.info("settings reloaded", extra={name: said for name, said in facts.items() if said})
    return change.settings, ReloadedSettingsView(changed=list(change.taken), waiting=list(change.waiting))
