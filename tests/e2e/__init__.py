"""Claims about the whole, from the client's side."""
