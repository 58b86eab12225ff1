"""The fabric, killed on purpose: a thousand kills over a hundred thousand events, and nothing lost.

Three small services in a row (`chain`) run on the real fabric, PostgreSQL and Kafka, two processes each. While a load
of commands passes through them, a seeded schedule of faults strikes: processes die at named points of the code and at
random, freeze and wake up, servers are killed, the network lies. Then all must come to rest, and the whole history is
judged. Read it in this order:

- `history`: what is claimed, one pure function for each invariant (`test_history` doctors histories to fool them);
- `chain`: the services, whose every effect can be counted;
- `faults` and `schedule`: what is done to them, and when;
- `round`: one round from an empty installation to the verdict; `load`, `collect` and `report` are parts of it;
- `kinds`: rounds on servers of another make, with faults of their own: three brokers (`cluster`), and a machine whose
  time of day is set (`machine`);
- `disasters`: what takes a disk, a topic, a database's last hour, each with the cure that `docs/how-to/recover.md` has
  for it; `scene` plays one, `aftermath` says what can be claimed then, `standby` makes the copies;
- `mistakes`: classic mistakes put back into a copy of the code, to see that the suite can fail;
- `system`, `servers`, `forkserver`, `proxy`: the machinery.

`make faults` runs it in full; `python -m tests.faults --help` says with which options.
"""
