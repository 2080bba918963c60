"""Models by alias: what recipes name, pinned to the byte, loaded once, never downloaded by surprise."""

from variorum.models.table import ModelTable, Status, doctor, refuse_filters

__all__ = ["ModelTable", "Status", "doctor", "refuse_filters"]
