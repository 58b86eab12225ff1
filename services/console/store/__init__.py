"""Every SQL statement of the console: what handlers `keep`, what pages `ask`, the `actions` of people, the rebuild."""
