"""What both clients decide, without I/O: framing, routes, signatures, parsing, when to try again."""
