"""The one road from an LR image to its result."""
