"""Show an edition: card, contact sheet, tables, differences; and models: their report."""
