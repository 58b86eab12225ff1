"""The services, each a package of its own."""

SERVICES = ("enrollment", "planner", "outreach", "fulfillment", "console")
