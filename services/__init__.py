"""What the product does: sandboxes, executions, packages and files, for one viewer at a time."""
