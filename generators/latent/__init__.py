"""Pictures as codes of a GAN: how a code is found, and directions in which codes can move."""
