"""Jobs as text to copy: for the SDK, the command line and curl. All three make the very same job."""
