"""The sample patients, how they were converted, and how more are drawn."""
