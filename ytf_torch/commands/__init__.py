"""The commands, such as ytf-convert and ytf-prune: parse the command line, call a flow, print.

PyTorch, and everything that needs it, is imported inside functions only, after the arguments have
been checked: `--help`, a mistyped option and a missing file are answered immediately.
"""
