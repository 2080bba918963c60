"""Runners on other engines: processes, Ray, Dask, Slurm. Each makes the parts of a stage somewhere else."""
