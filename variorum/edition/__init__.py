"""What an edition is on disk: the store, shards, tables, ledgers."""
