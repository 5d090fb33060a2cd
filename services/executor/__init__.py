"""The Ray side: sessions that own a container each, and the client that reaches them."""
