"""Work that needs large libraries or much time, as small programs: JSON in, JSON out."""
