"""One function a field: unpack, call one service, return an entity."""
