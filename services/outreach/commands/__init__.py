"""What dialers, staff, patients and prescribers may ask of outreach: one function per command, without HTTP.

`contacts` has those about contacts that outreach makes, `patients` what patients say by themselves, `texts` what staff
made of their messages, `prescribers` the requests for renewals. Beside them is what several commands do: `leasing`,
`stopping`, `effects`. Each gets the unit of work with its patient locked, and goes the same way: who may, load, decide,
save, emit. It raises what `shared.problems` names; what is said to it is a frozen model beside it.
"""
