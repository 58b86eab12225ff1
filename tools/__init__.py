"""What the project checks of itself."""
