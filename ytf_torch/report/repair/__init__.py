"""What a repair gives: result.json, the verdict and the page."""
