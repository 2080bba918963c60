"""Statistics of the filters of convolutional networks: of a layer, and of networks beside each other."""
