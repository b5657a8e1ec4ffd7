"""How LR images come about: forward model, kernels, noise, evidence; pure functions and immutable operators."""
