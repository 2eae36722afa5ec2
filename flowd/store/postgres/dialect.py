"""How PostgreSQL spells a statement that was written for every database.

The store's statements are SQL that both databases understand, but for what is in this file: placeholders, hints that
only SQLite's planner needs, and a few words that have another name here.
"""

import re
from functools import lru_cache

_WORDS = {
    "CROSS JOIN": "JOIN",  # SQLite keeps to its order; all of them have conditions
    "json_array(": "json_build_array(",
    "json_group_array(": "json_agg(",
    " LIKE ": " ILIKE ",  # as SQLite does, and for ASCII alone: so is the collation
}
_PART = re.compile(
    r"'(?:[^']|'')*'"  # a literal, left as it is
    r"|\?"
    r"|\s+(?:INDEXED BY \w+|NOT INDEXED)\b"
    r"|" + "|".join(re.escape(word) for word in _WORDS)
)


@lru_cache(maxsize=4096)
def translated(sql: str) -> str:
    """The statement as PostgreSQL takes it."""
    count = 0

    def spelt(found: re.Match[str]) -> str:
        nonlocal count
        part = found.group()
        if part == "?":
            count += 1
            return f"${count}"
        if part[0] == "'":
            return part
        return _WORDS.get(part, "")

    return _PART.sub(spelt, sql)
