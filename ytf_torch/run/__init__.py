"""Runs: settings, inputs, work folder and output folder, and one flow per command."""
