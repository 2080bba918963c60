"""People's votes: the database that they are written to, and the files that they are exchanged in."""
