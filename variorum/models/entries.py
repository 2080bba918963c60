"""Old name of `variorum.models.table_entries`."""

from variorum.models.table_entries import Entry as Entry
