"""Attacks on the whole: the server stays up, serves others, and gives back what it took."""
