"""The outputs of a pruning run: result.json, report.html, tables, example images and table.pdf."""
