"""The robustness report of models: from answers to rows, from rows to a page, Markdown and JSON."""
