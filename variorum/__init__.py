"""The machinery: store, shards, engine, models, cards. It knows no technique and no Prefect."""

__version__ = "0.1.0"
