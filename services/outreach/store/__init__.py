"""Every SQL statement of outreach: `reads` and `writes`; by subject `stops`, `texts`, `attempts`, `renewals`.

Statements are set-wise: one for a whole request or batch.
"""
