"""The demo's second task: handwritten digits, a patch trigger and a small Sequential network."""
