"""Models by alias: recipes name an alias, and a table says which pinned weights it stands for."""

from variorum.models.status import Status
from variorum.models.table import ModelTable, doctor, refuse_filters

__all__ = ["ModelTable", "Status", "doctor", "refuse_filters"]
