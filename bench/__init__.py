"""What flowd costs, beside programs that do the same work in the same run. Prints tables, asserts nothing."""
