"""Detectors: score how likely an image carries a trigger."""
