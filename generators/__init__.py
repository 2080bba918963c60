"""Make pictures. Each folder is a thing: its generators, and beside them what they alone use."""
