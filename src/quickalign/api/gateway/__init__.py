"""The gateway: the way from a client to a service's replicas, for tokens that open it, within their limits."""
