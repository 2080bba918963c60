"""Maps of what classifiers look at, and what they are worth."""

COMPONENTS = ("attribution",)
