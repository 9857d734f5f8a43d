"""Services: models behind endpoints, kept as they are wanted."""
