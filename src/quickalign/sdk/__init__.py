"""Clients of a quickalign server: what runs in a user's program, over HTTP and nothing else."""
