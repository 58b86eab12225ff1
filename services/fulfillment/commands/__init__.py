"""What the dispensing system, the pharmacist and the pickup desk may ask: one function per command, without HTTP.

`dispensing` has those of the dispensing system, `resolving` what is done about a refusal or a shortage, `packages` the
pharmacist's, `counter` those of the pickup desk, and `common` what they share. Each gets the unit of work with its
patient locked, and goes the same way: who may, load, decide, save, emit. It raises what `shared.problems` names. What
is said to it is a frozen model beside it.
"""
