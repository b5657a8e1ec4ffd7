"""Restoration of an LR image, from alternation to checkpoints and tiles; every entry point runs it."""
