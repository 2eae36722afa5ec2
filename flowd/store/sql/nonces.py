"""Remembers nonces of signed requests, so that each counts once, across restarts too."""

from flowd.store.sql.connection import Connection


def remember(db: Connection, nonce: str, *, at_ms: int, expires_at_ms: int) -> bool:
    """Whether the nonce is new; it is remembered until it expires. Expired ones are dropped on the way."""
    db.execute("DELETE FROM nonces WHERE expires_at_ms < ?", (at_ms,))
    done = db.execute(
        "INSERT INTO nonces (nonce, expires_at_ms) VALUES (?, ?) ON CONFLICT DO NOTHING", (nonce, expires_at_ms)
    )
    return done.rowcount == 1
