"""Show an edition: card, contact sheet, tables, differences."""
