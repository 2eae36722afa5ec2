"""Every page, and everything that pages do, by its path."""

from flowd.page import actions, now, runs
from flowd.page.site import Doing, Looking

LOOKS = (
    Looking("/ui/", now.show),
    Looking("/ui/runs", runs.show),
)

ACTS = (
    Doing(
        "/ui/runs/{runId}/resolve",
        "control",
        actions.resolve,
        question="Say how this run counts from now on? What waits for it goes on or ends.",
    ),
    Doing("/ui/runs/{runId}/answer", "control", actions.answer, question="Give this answer? The run goes on with it."),
    Doing("/ui/runs/{runId}/cancel", "control", actions.cancel_run, question="End this run, and all that it started?"),
    Doing("/ui/resume", "control", actions.resume, question="Resume this? What waits for that starts."),
    Doing("/ui/pause", "control", actions.pause, question="Pause this? Nothing of it starts until it is resumed."),
    Doing("/ui/runs/{runId}/retry", "control", actions.retry_run, question="Make another attempt of this run?"),
)
