"""What the pages show, worked out from what is known: pure functions, no I/O, no clock.

`visits` says how each visit stands, `today` arranges a store's day, `supply` and `month` draw a plan, `ahead` says what
happens next, `brief` what to read first, `story` puts cause before effect, `lines` folds bursts of the stream.
"""
