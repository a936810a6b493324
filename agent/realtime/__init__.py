"""Running a policy in simulated real time: it knows nothing of torch, and drives any world that is a `Plant`."""
