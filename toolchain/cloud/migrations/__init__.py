"""The database's schema, step by step; `Database` takes the steps that a database lacks when it opens it."""
