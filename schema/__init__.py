"""The GraphQL schema: types, inputs, operations, and how entities and errors become them."""
