"""All queries: one class a table and a kind of session, given the session they run in."""
