"""Scans of a network without triggered faces: which class could be a backdoor's target."""
