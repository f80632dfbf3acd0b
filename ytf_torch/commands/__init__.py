"""The commands ytf-prune, ytf-detect and ytf-demo: parse, call, print."""
