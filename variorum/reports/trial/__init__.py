"""The report of a trial: what of a profile works on one machine, line by line."""
