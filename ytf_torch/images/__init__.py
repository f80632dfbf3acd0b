"""Image sets (HDF5, .npz, folders, arrays), photos, batches, and comparisons between sets."""
