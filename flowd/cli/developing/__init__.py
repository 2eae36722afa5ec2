"""``flowd dev``: what it watches, which event it tries steps with, and what it says."""
