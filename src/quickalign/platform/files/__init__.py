"""Uploaded files: records of blobs that are stored once by their content."""
