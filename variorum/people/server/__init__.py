"""Serve `variorum review`: pages, pictures and votes of one panel, for browsers on this machine or others."""
