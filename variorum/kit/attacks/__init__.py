"""Changes of pictures within a budget that follow the gradients or the answers of a network."""
