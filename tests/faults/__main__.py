"""`make faults`: what was tried on both profiles, written to docs/faults.md, cluster-faults.md and split-faults.md."""

import argparse
import asyncio
import secrets

from tests.faults import cluster, embedded, splits

parser = argparse.ArgumentParser(prog="make faults", description=__doc__)
parser.add_argument("profile", nargs="?", choices=["embedded", "cluster", "splits"], help="only these")
parser.add_argument("--seed", default=secrets.token_hex(3), help="of the cluster's faults; printed")
options = parser.parse_args()
if options.profile in (None, "embedded"):
    asyncio.run(embedded.main())
well = True
if options.profile in (None, "cluster"):
    well = cluster.main(options.seed)
if options.profile in (None, "splits"):
    well = splits.main(options.seed) and well
raise SystemExit(not well)
