"""The page of an edition: one HTML file that shows its pictures with all that is known about them.

`edition_page` and `diff_page` gather what it shows, `html` writes it down, `write` puts it into its place.
"""
