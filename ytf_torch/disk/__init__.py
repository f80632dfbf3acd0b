"""Files: what they are, whether they may be read, how they are read and written."""
