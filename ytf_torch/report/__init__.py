"""report.html: the verdict, its evidence and how to repeat the run, on one self-contained page."""
