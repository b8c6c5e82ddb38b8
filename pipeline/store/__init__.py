"""What a run leaves on disk or in a bucket: manifest, counts, certificates, heartbeat, lock."""
