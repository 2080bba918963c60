"""The contracts of the project: records, components, recipes, manifests.

The modules import only pydantic, the standard library and each other. NumPy, pyarrow and the components that a recipe
names are imported when they are needed. `docs/architecture.md` has an overview.
"""
