"""Timings, side by side in one run. Nothing here is asserted: `python -m benchmarks.sweep`."""
