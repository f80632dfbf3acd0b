"""Rankings: the order in which a convolution's channels are pruned."""
