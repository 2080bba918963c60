"""Make pictures whose shape and texture are of different classes."""

COMPONENTS = ("cue_conflict",)
