"""Runs parts on processes, Ray, Dask or Slurm.

`chosen` returns the runner with a certain name. `lanes` has the one runner that gives parts to executors, `worker` what
a worker does. Each of the other modules starts the executors of one engine.
"""
