"""`make faults`: what was tried on both profiles, written to docs/faults.md and docs/cluster-faults.md."""

import argparse
import asyncio
import secrets

from tests.faults import cluster, embedded

parser = argparse.ArgumentParser(prog="make faults", description=__doc__)
parser.add_argument("profile", nargs="?", choices=["embedded", "cluster"], help="only this one")
parser.add_argument("--seed", default=secrets.token_hex(3), help="of the cluster's faults; printed")
options = parser.parse_args()
if options.profile != "cluster":
    asyncio.run(embedded.main())
if options.profile != "embedded" and not cluster.main(options.seed):
    raise SystemExit(1)
