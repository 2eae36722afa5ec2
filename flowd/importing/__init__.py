"""Imports what the reference system stored: its backend's SQLite file, or its local client's ``state.json``."""
