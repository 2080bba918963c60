"""Read tables: Arrow, parquet, rows with labels."""
