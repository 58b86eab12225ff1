"""What the fabric carries, measured against fair opponents: `make bench`, or one by `python -m benchmarks.hop`.

Read `hop` first. `business` is the work that every contender does alike, `service` does it on the fabric, `tutorial`
and `bare` without it; `common` has the servers, the accounts of CPU time, and the tables.
"""
