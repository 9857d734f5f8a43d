"""Jobs: their states, the only place that changes them, the queue, and the reconciler."""
