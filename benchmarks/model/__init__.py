"""A discrete-event model of the cluster profile: what two cores cannot show, from what was measured on two cores."""
