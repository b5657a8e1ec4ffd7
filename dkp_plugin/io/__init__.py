"""Bytes to tensors and back: images, kernels, weights, folders, archives, lmdb."""
