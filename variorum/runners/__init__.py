"""Engines that parts are made on, beside threads and Prefect: processes, Ray, Dask and Slurm.

`chosen` gives the runner of a name. `lanes` has the loop that all of them share, `worker` what a worker does, and each
of the others how one engine starts workers and talks to them.
"""
