"""Real servers, the real services as processes, faults drawn from a seed, and a ledger of what became of every record.

    drawing.py    what happens in a run, drawn from seed and number: records, bad ones among them, faults and moments
    planted.py    the bad records, and why each service must refuse them
    proxy.py      the network between services and servers, and its weather
    world.py      servers, proxies and logins for all runs; an empty vhost, database and graph for each
    supervising.py  a service that is started again whenever it ends
    producing.py  the load, published bit by bit and confirmed
    acts.py, operating.py, rivals.py, switchover.py   what the faults do
    running.py    one run from the first record to the ledger
    ledger.py     what was published beside what is stored and set aside
    totals.py     many runs as one result

`make chaos RUNS=… SEED=…` runs them; `test_chaos.py` is two short ones.
"""
