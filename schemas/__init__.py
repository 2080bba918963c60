"""The contracts every other folder is written against: records, components, recipes, manifests.

Only pydantic and the standard library are imported here, nothing reads a file, and nothing here imports the rest of
the project; `docs/architecture.md` has the picture.
"""
