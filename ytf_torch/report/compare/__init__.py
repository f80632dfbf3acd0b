"""The outputs of a comparison: comparison.json, comparison.csv, plots and report.html."""
