"""The report page of a scan."""
