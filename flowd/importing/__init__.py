"""Taking over what the reference system remembers: its backend's SQLite file and its local client's ``state.json``."""
