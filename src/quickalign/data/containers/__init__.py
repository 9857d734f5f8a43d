"""How rows are stored in a file: JSON arrays, JSON lines, Parquet, CSV. One module a container."""
