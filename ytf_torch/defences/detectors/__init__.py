"""Detectors: which faces carry a trigger."""
