"""Who did what, who was refused, and who saw whom.

Read it in this order: `asked` (what one request leaves), `recording` (how it gets written before anybody sees the
answer), `chain` (the rules: hashes, seals, and what is wrong with a chain), `chaining` (the job that chains, and
publishes the head), `http` (what auditors ask).
"""
