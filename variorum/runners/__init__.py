"""Runners besides threads and Prefect: processes, Ray, Dask and Slurm.

`chosen` returns the runner with a certain name. `lanes` has the loop that all of them share, `worker` what a worker
does. Each of the other modules starts the workers of one engine and talks to them.
"""
