"""A run: its settings, its inputs, the folder it works in and the one it leaves."""
