"""Schema revisions, applied by :class:`orchestrator.sql_store.SqlStore` when it opens."""
