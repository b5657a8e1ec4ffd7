"""How LR images are formed: forward model, kernels, noise and evidence, as pure functions and immutable operators."""
