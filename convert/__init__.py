"""From Keras files to PyTorch models, with proof that both answer alike."""
