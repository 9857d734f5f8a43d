"""The schema's history, run by Alembic when a home is opened."""
