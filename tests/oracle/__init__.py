"""The judge of the planner: what the best year of a patient is, and what a year by the planner's own plans comes to.

The judge is told the question alone, and none of the planner's words: `question` holds its values, `burden` weighs a
year, `exact` and `solver` find the least burden in two ways that share nothing, `compare` says whether an answer is
as good. `families` draws patients, `year` follows plans for a year through the documented input, which `adapter`
alone knows. `python -m tests.oracle` prints what a year comes to, for whole families.
"""
