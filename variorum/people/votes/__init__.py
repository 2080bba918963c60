"""Keep people's votes: in a database, and in files that are exchanged."""
