"""The checks of ``flowd doctor``, one subject a module. Checks change nothing; repairs are few and safe."""
