"""What runs a job: a port, and the executor of this machine behind it."""
