"""A PostgreSQL server, and a standby that takes over when it is gone."""

import postgres_rig
from daemon_rig import until

DURABLE = {**postgres_rig.OPTIONS, "fsync": "on", "full_page_writes": "on"}


class Pair:
    """A server, and one that follows it.

    Attributes:
        url: Of whichever of the two takes writes.
    """

    def __init__(self) -> None:
        programs = postgres_rig.programs()
        self.first = postgres_rig.Server(programs, DURABLE)
        self.first.make_database("work")
        self.second = postgres_rig.Server(programs, DURABLE, follows=self.first)
        # The one that follows is asked first.
        self.url = f"postgresql://postgres@/work?host={self.second.folder},{self.first.folder}"

    def confirm(self) -> None:
        """Acknowledge no commit that the second has not."""
        self.first.execute("ALTER SYSTEM SET synchronous_standby_names = '*'", "SELECT pg_reload_conf()")
        confirming = "SELECT 1 FROM pg_stat_replication WHERE sync_state = 'sync'"
        until(lambda: self.first.execute(confirming), what="a standby that confirms")

    def fail_over(self) -> None:
        """Lose the first, and have the second take over."""
        self.first.stop("immediate")
        self.second.execute("SELECT pg_promote()")

    def remove(self) -> None:
        """End both."""
        self.second.remove()
        self.first.remove()
