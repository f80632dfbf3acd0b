"""The outputs of a repair: result.json, verdict and report.html."""
