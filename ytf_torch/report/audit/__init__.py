"""The outputs of an audit: findings, result.json and report.html."""
