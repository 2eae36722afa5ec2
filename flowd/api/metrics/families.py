"""Every figure that a daemon tells. Names are promises: one may come, none may go or come to mean something else.

Counters and histograms begin at 0 with each start of the daemon.
"""

from flowd.api.metrics.family import Family
from flowd.domain.tallies import MAX_NAMED, OTHERS

# --- the daemon ------------------------------------------------------------------------------------------------------

INFO = Family("flowd_info", "gauge", "Which flowd runs; always 1.", ("version",))
UPTIME = Family("flowd_uptime_seconds", "gauge", "Since the start of the daemon.")
READY = Family("flowd_ready", "gauge", "1 while the daemon starts runs, 0 while it drains.")
RESIDENT = Family("flowd_resident_bytes", "gauge", "Memory of the daemon.")
CPU = Family("flowd_cpu_seconds_total", "counter", "Processor time of the daemon.")
LOOP_LAG = Family(
    "flowd_loop_lag_seconds",
    "histogram",
    "How late the event loop was for a timer of half a second: so long a request may wait until it is looked at.",
)
KEEPER_UP = Family("flowd_keeper_up", "gauge", "Whether the keeper is there.")
KEEPER_RESTARTS = Family("flowd_keeper_restarts_total", "counter", "Keepers that took a dead one's place.")
KEEPER_RESIDENT = Family("flowd_keeper_resident_bytes", "gauge", "Memory of the keeper.")
TROUBLES = Family("flowd_troubles", "gauge", "Things that do not work while the rest does; `flowd status` names them.")

# --- hosts -----------------------------------------------------------------------------------------------------------

HOST_UP = Family(
    "flowd_host_up",
    "gauge",
    "Whether each host that shares the store was heard of lately; every host tells the same. One that is forgotten is "
    "told no more.",
    ("host",),
)
LEASE_AGE = Family(
    "flowd_lease_age_seconds",
    "gauge",
    "How long ago this host has renewed its leases, which it does every five seconds at least; only where hosts share "
    "the store.",
)
LEASES_LOST = Family(
    "flowd_lease_lost_total", "counter", "Attempts that this host declared lost, as theirs did not renew their leases."
)

# --- events and runs -------------------------------------------------------------------------------------------------

EVENTS = Family("flowd_events", "gauge", "Stored events.")
ACCEPTS = Family(
    "flowd_accepts_total",
    "counter",
    "Events that were handed in or that results caused, by what came of them: `accepted`, `duplicate`, `conflict` (a "
    "duplicate with other content), or the slug of the refusal.",
    ("outcome",),
)
ACCEPT_TIME = Family("flowd_accept_seconds", "histogram", "How long callers waited until their event was on disk.")
MATCHES = Family(
    "flowd_matches_total",
    "counter",
    f"Runs that were made for accepted events, by flow: the {MAX_NAMED} busiest, and all others as `{OTHERS}`.",
    ("flow",),
)
REPLAYS = Family("flowd_replays_total", "counter", "Replays of stored events.")
RUNS = Family("flowd_runs", "gauge", "Stored runs by process status; `queued` is the queue.", ("status",))
ENDS = Family(
    "flowd_runs_ended_total",
    "counter",
    "Runs that have ended, by flow (as above), effective status and reason. A run that is retried ends again.",
    ("flow", "status", "reason"),
)
FAILURES = Family(
    "flowd_runs_failed_total",
    "counter",
    "Of these, those that have failed, by flow. It is told from 0 on, so the first one is seen to be one more.",
    ("flow",),
)
START_DELAY = Family(
    "flowd_run_start_delay_seconds",
    "histogram",
    "How long runs waited from the acceptance of their event to their first attempt, whatever for.",
)
ATTEMPT_TIME = Family(
    "flowd_attempt_duration_seconds", "histogram", "How long attempts took, by process status.", ("status",)
)
OUTPUT = Family(
    "flowd_output_bytes_total", "counter", "What attempts had printed when they ended, by stream.", ("stream",)
)

# --- the queue -------------------------------------------------------------------------------------------------------

QUEUE = Family(
    "flowd_queue_runs",
    "gauge",
    "Queued runs by what they wait for: a `place`, `needs`, a `person`, a `time`, a `pause`, a `key`, a `package`.",
    ("waits_for",),
)
QUEUE_AGE = Family(
    "flowd_queue_oldest_seconds",
    "gauge",
    "How long the one that waits for it longest has done so; 0 where none does.",
    ("waits_for",),
)
UNSERVED = Family(
    "flowd_queue_unserved",
    "gauge",
    "Queued runs that no host starts: those that could are `draining`, none has the `labels`, none has the `package`, "
    "or the one that has the `folder` of their round is not there.",
    ("why",),
)
CLAIM_TIME = Family(
    "flowd_claim_seconds",
    "histogram",
    "How long claims took: one takes as many runs as there are places free. Most runs of a daemon with places free are "
    "taken with the acceptance of their event, or with the end of another run.",
)
WAITING = Family("flowd_runs_waiting", "gauge", "Queued runs that wait for something else than a place.")
ASKING = Family("flowd_runs_asking", "gauge", "Runs that ask for a person.")
WAITING_FOR_STORAGE = Family(
    "flowd_runs_waiting_for_storage",
    "gauge",
    "Runs whose start or end cannot be written down: a full disk, a locked database.",
)
PAUSES = Family("flowd_pauses", "gauge", "Pauses in force.")
MAX_PARALLEL = Family("flowd_max_parallel", "gauge", "Runs that may be under way at once.")
MAX_QUEUED = Family("flowd_max_queued", "gauge", "Runs that may be ready.")
MAX_WAITING = Family("flowd_max_waiting", "gauge", "Runs that may wait.")

# --- the database ----------------------------------------------------------------------------------------------------

COMMIT_TIME = Family(
    "flowd_commit_seconds", "histogram", "How long transactions took until they were on disk; one serves many writes."
)
WRITES = Family("flowd_writes_total", "counter", "Writes that were committed.")
RECONNECTS = Family(
    "flowd_store_reconnects_total",
    "counter",
    "Connections to the database that were lost and made anew; only where hosts share the store.",
)
DATABASE = Family(
    "flowd_database_bytes", "gauge", "The database's files: `main`, `wal`; `free` of the first is unused.", ("part",)
)

# --- packages --------------------------------------------------------------------------------------------------------

PACKAGES = Family(
    "flowd_packages",
    "gauge",
    "Flow packages: `flows` are in force, `stale` ones of these by their last good version; `broken`, `shadowed`.",
    ("state",),
)
WATCHED = Family(
    "flowd_watcher_up", "gauge", "Whether the system tells of changed packages; at 0 flowd looks every second."
)
LOOK_TIME = Family("flowd_catalog_look_seconds", "histogram", "How long looks at the packages on disk took.")
CATALOG_CHANGES = Family("flowd_catalog_changes_total", "counter", "Looks that found packages to be different.")

# --- notices ---------------------------------------------------------------------------------------------------------

NOTICES_SENT = Family("flowd_notices_sent_total", "counter", "Notices that each notifier has sent.", ("notifier",))
NOTICES_FAILED = Family(
    "flowd_notices_failed_total",
    "counter",
    "Tries to send one that came to nothing; it is tried again for a day.",
    ("notifier",),
)
NOTICES_WAITING = Family(
    "flowd_notices_waiting",
    "gauge",
    "Notices that are not sent yet; every host that shares the store tells the same.",
    ("notifier",),
)

# --- connections -----------------------------------------------------------------------------------------------------

SOCKET_CONNECTIONS = Family("flowd_socket_connections", "gauge", "Clients of the control socket.")
SUBSCRIPTIONS = Family("flowd_subscriptions", "gauge", "Subscriptions of these clients.")
HTTP_CONNECTIONS = Family("flowd_http_connections", "gauge", "Open connections over HTTP.")
HTTP_STREAMS = Family("flowd_http_streams", "gauge", "Readers over HTTP that follow something.")
HTTP_REQUESTS = Family(
    "flowd_http_requests_total",
    "counter",
    "Answered requests by route; `none` is no route of flowd's.",
    ("route", "status"),
)
HTTP_TIME = Family("flowd_http_request_seconds_total", "counter", "Time that was spent on them.", ("route",))

ALL = tuple(family for family in tuple(globals().values()) if isinstance(family, Family))
"""In the order in which they are told."""
