"""What scheduler, shards and dispatchers must compute alike; pure, without clock or I/O."""
