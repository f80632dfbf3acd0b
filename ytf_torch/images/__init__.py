"""Faces: lab-format sets, photos, batches of them."""
