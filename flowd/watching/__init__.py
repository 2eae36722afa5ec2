"""Watches folders: hears of changes, knows what lies there, and remembers it over restarts. Knows no flows."""
