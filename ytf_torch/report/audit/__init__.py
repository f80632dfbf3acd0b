"""What an audit gives: its findings, audit.json and the page."""
