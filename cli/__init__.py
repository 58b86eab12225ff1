"""`medsync`: the commands of those who run, feed and watch it."""
