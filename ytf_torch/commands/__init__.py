"""The commands ytf-convert, ytf-prune, ytf-detect and ytf-demo: parse, call, print.

Modules here load PyTorch, and whatever needs it, inside functions only and after a first look at
what was asked: `--help`, a mistyped flag and a missing file are answered at once.
"""
