"""How PostgreSQL spells statements that were written for every database."""

import pytest

from flowd.store.postgres.dialect import translated


@pytest.mark.parametrize(
    ("sql", "spelt"),
    [
        ("SELECT a FROM t WHERE b = ? AND c IN (?,?)", "SELECT a FROM t WHERE b = $1 AND c IN ($2,$3)"),
        ("SELECT '?' || ?, 'it''s ?'", "SELECT '?' || $1, 'it''s ?'"),
        ("FROM runs r INDEXED BY runs_ready JOIN events e", "FROM runs r JOIN events e"),
        ("FROM runs r NOT INDEXED WHERE x", "FROM runs r WHERE x"),
        ("labels l CROSS JOIN runs r ON r.seq = l.run_seq", "labels l JOIN runs r ON r.seq = l.run_seq"),
        ("e.id LIKE ? ESCAPE '\\'", "e.id ILIKE $1 ESCAPE '\\'"),
        ("json_array(a, json_group_array(b))", "json_build_array(a, json_agg(b))"),
    ],
)
def test_statements_are_spelt_for_postgresql(sql: str, spelt: str) -> None:
    assert translated(sql) == spelt
