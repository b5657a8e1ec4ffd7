"""Networks and the weights that the package ships."""
