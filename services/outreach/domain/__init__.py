"""The rules of contact: whom to contact, when, on which channel, and what the answer means. No I/O, no clock."""
