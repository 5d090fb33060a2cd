"""The composition root: settings, lifespan, HTTP and websocket wiring."""
