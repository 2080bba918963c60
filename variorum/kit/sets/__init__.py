"""What `generated_set` measures sets of pictures with: pure functions of embeddings, one per method."""
