"""Sources, read through DuckDB -> checked tables, and a report of what was set aside."""
