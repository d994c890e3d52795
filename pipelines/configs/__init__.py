"""Run configurations, one file a run: `get_config()` of ml_collections."""
