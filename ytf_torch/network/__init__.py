"""The network: its layers, masks on its channels, its file."""
