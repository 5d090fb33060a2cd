"""Claims about one part on the real stack."""
