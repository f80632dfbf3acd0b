"""Keras files: read and written, their weights and configurations, and real Keras running them."""
