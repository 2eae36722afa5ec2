"""Figures of a daemon: which there are, what they mean, and how they are written for Prometheus."""
