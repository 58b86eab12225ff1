"""`medsync demo`: a chain's pharmacies live through some synchronized cycles, on the real services.

Read `run` first (the loop over due moments), then `actors` (who does what over HTTP), `behavior` (how they answer).
"""
