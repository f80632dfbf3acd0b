"""The demo's second task: digits, a patch as trigger and a small Sequential network."""
