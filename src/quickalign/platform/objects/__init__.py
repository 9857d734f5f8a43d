"""Objects in buckets: what clients of an object storage send and fetch, kept as stored files."""
