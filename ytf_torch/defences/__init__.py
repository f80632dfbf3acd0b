"""Defences: rankings, repairs, detectors and scans, one file each."""
