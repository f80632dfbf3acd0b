"""File access: recognising kinds of files, reading untrusted ones in a sandbox, atomic writing."""
