"""Small helpers, at the place where PAI's SDK has them."""
