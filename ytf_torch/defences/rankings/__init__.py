"""Rankings of a convolution's channels: which goes first."""
