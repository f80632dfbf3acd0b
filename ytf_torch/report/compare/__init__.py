"""What a comparison gives: its files, plots and page."""
