"""Web pages on the platform: rendered on the server, without a build step, and without a request to anywhere else."""
