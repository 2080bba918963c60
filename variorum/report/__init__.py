"""What people see of an edition: card, contact sheet, tables, differences."""
