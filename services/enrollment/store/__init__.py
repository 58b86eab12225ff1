"""Every SQL statement of enrollment: the `feed`, `consents`, `reports`, `profiles` as published, `candidates`.

Statements are set-wise: one for a whole request or batch.
"""
