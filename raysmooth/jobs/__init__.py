"""Ray Jobs: find a cluster's dashboard, pack the working directory, submit a command and follow it."""
