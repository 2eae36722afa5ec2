"""Makes the sender of a notifier."""

from collections.abc import Mapping
from pathlib import Path

from flowd.notifiers.command import CommandSender
from flowd.notifiers.config import NotifierConfig
from flowd.notifiers.webhook import WebhookSender
from flowd.ports.notices import NoticeSender


def sender(
    config: NotifierConfig, *, folder: Path, step_environ: Mapping[str, str], environ: Mapping[str, str]
) -> NoticeSender:
    """What sends the notices of a notifier.

    Args:
        folder: Where programs run.
        step_environ: What they inherit: what steps do.
        environ: Our own environment, which may name a proxy.
    """
    if config.command is not None:
        return CommandSender(config.command, folder=folder, environ=step_environ, timeout_s=config.timeout_s)
    return WebhookSender(config, environ)
