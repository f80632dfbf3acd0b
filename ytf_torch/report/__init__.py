"""Results as JSON, CSV, LaTeX, PDF and self-contained HTML pages: verdict, evidence, command."""
