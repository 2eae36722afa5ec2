"""What the daemon answers, as frozen dataclasses: one module per subject, `reading` under them."""
