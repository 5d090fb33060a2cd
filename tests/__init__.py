"""The claims of the product, each by a test."""
