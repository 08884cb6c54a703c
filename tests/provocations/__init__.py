"""Situations that are made for real on real servers, and what `spindle advise` says of each.

    situations.py  what a situation is, and the list of all
    stage.py       servers, one service on them, whoever publishes, and the command that is asked
    feeding.py     a stream of records: behind a backlog, or at a pace
    healthy.py     runs in which nothing is to be found
    stores.py      slow, locked, distant or missing stores
    rivals.py      other clients that are in a store's way
    broker.py      a RabbitMQ that blocks, that slows down, or that is far
    records.py     records that are bad, that were there before, or that follow each other too closely
    settings.py    a service that is paused, small, starved or busy with itself
    performing.py  one situation from its begin to its row
    judging.py     whether what was found is what was to be found (pure)
    showing.py     lines and the table

`make provocations` runs them; what was found is in docs/reliability.md.
"""
