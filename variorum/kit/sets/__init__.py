"""Hold sets of pictures as arrays, and score generated ones."""
