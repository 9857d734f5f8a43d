"""Programs that spread over a Ray cluster: training on several workers, and services of several replicas."""
