"""Bring a dump into both stores: plan, publish what differs, wait, check, repair, sum up."""
