"""What travels between the server and its clients: the types of the native API, and nothing that does anything."""
