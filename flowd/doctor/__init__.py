"""What `flowd doctor` looks at, one module a subject. Looking changes nothing; repairs are few and safe."""
