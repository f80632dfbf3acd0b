"""Scans: which class could be a backdoor's target, without triggered images."""
