"""What every room shares: options, run specifications, errors, paths and storage. Knows no other room."""
