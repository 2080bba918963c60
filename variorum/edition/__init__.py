"""Read and write editions on disk: the store, shards, tables, ledgers."""
