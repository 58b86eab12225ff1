"""What every service stands on: the published language, the fabric, clock, database, logging, settings."""
