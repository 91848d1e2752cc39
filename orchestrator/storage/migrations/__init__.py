"""Schema revisions, applied by :class:`orchestrator.storage.sql_store.SqlStore` when it opens."""
