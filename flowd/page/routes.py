"""Every page, and everything that pages do, by its path."""

from flowd.page import actions, compose, event, event_actions, flow_actions, flows, now, output, run, runs
from flowd.page.site import Doing, Looking

LOOKS = (
    Looking("/ui/", now.show),
    Looking("/ui/runs", runs.show),
    Looking("/ui/runs/{runId}", run.show),
    Looking("/ui/runs/{runId}/tail", output.tail),
    Looking("/ui/events/{eventId}", event.show),
    Looking("/ui/flows", flows.show_all),
    Looking("/ui/flows/{flowName}", flows.show),
    Looking("/ui/dispatch", compose.show),
)

ACTS = (
    Doing("/ui/runs/{runId}/approve", "control", actions.approve, question="Approve this? What waits for it goes on."),
    Doing("/ui/runs/{runId}/reject", "control", actions.reject, question="Reject this? It counts as failed."),
    Doing("/ui/runs/{runId}/answer", "control", actions.answer, question="Give this answer? The run goes on with it."),
    Doing("/ui/runs/{runId}/cancel", "control", actions.cancel_run, question="End this run, and all that it started?"),
    Doing("/ui/resume", "control", actions.resume, question="Resume this? What waits for that starts."),
    Doing("/ui/pause", "control", actions.pause, question="Pause this? Nothing of it starts until it is resumed."),
    Doing("/ui/runs/{runId}/retry", "control", actions.retry_run, question="Make another attempt of this run?"),
    Doing(
        "/ui/events/{eventId}/replay",
        "dispatch",
        event_actions.replay,
        question="Run the steps of this event again, as they are defined now?",
    ),
    Doing(
        "/ui/events/{eventId}/replay-from",
        "control",
        event_actions.replay_from,
        question="Run this step and all that need it again, as they are defined now?",
    ),
    Doing(
        "/ui/events/{eventId}/retry-failed",
        "control",
        event_actions.retry_failed,
        question="Make another attempt of all that failed?",
    ),
    Doing(
        "/ui/events/{eventId}/cancel",
        "control",
        event_actions.cancel,
        question="End all that goes on of this event, and of what it caused?",
    ),
    Doing("/ui/dispatch", "dispatch", compose.dispatch),
    Doing(
        "/ui/flows/{flowName}/pause",
        "control",
        flow_actions.pause,
        question="Start nothing of this until it is resumed?",
    ),
    Doing("/ui/flows/{flowName}/resume", "control", flow_actions.resume, question="Let this go on?"),
)
