"""Makes the notifiers that the settings name."""

from collections.abc import Mapping

from flowd.engine.notices import Notifier
from flowd.notifiers.senders import sender
from flowd.settings import values as settings_values
from flowd.settings.values import Settings


def notifiers(settings: Settings, environ: Mapping[str, str]) -> list[Notifier]:
    """The notifiers. Their programs inherit what steps inherit, and run in the workspace."""
    step_environ = settings_values.step_environment(settings, environ)
    return [
        Notifier(config.rule, sender(config, folder=settings.workspace, step_environ=step_environ, environ=environ))
        for config in settings.notifiers
    ]
