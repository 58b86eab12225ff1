"""Every SQL statement of fulfillment: what is asked (`reads`) and what is kept (`writes`)."""
