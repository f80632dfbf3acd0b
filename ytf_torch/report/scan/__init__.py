"""What a scan gives: its page."""
