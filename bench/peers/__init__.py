"""Programs that run a peer of the project; in the peers' environment, of which they are."""
