"""Kinds of layers, one file each: what it computes, its weights, how Keras and ONNX say it."""
